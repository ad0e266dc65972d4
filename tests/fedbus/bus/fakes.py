"""Listeners of our own that are no broker, or a strange one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fedbus.bus.base import BrokerAddress

SECONDS = 10.0
CONNACK = bytes((0x20, 3, 0, 0, 0))

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[BrokerAddress]:
    """Answer connections by a handler; at the end wait until all are closed."""
    ends: list[asyncio.Event] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = asyncio.Event()
        ends.append(end)
        try:
            await handler(reader, writer)
            writer.close()
            await writer.wait_closed()
        except OSError:
            pass  # the other end was faster
        finally:
            end.set()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        try:
            yield BrokerAddress("127.0.0.1", server.sockets[0].getsockname()[1])
        finally:
            async with asyncio.timeout(SECONDS):
                for end in ends:
                    await end.wait()
