"""Listeners that are no broker, or a strange one."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fedbus.mqtt.bus import BrokerAddress
from fedbus.mqtt.frames import Frame

SECONDS = 10.0
CONNACK = bytes((0x20, 3, 0, 0, 0))
ACCEPTED = Frame(CONNACK[0], memoryview(CONNACK[2:]))

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(
    handler: Handler, certificate: tuple[Path, Path] | None = None
) -> AsyncIterator[BrokerAddress]:
    """Answer connections by a handler, over TLS with a certificate; at the end wait for all."""
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

    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
    async with await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            if certificate is None:
                yield BrokerAddress("127.0.0.1", port)
            else:
                yield BrokerAddress("127.0.0.1", port, tls=True, ca_file=certificate[0])
        finally:
            async with asyncio.timeout(SECONDS):
                for end in ends:
                    await end.wait()


def cut(stream: bytes) -> list[bytes]:
    """Cut a stream into control packets; fails where one is not whole."""
    packets = []
    while stream:
        length = at = 0
        for at in range(1, 5):
            length |= (stream[at] & 0x7F) << 7 * (at - 1)
            if stream[at] < 0x80:
                break
        end = at + 1 + length
        assert end <= len(stream)
        packets.append(stream[:end])
        stream = stream[end:]
    return packets
