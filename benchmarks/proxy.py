"""TCP proxy in front of the broker that limits the rate of a link.

    python -m benchmarks.proxy --listen 2883 --to 127.0.0.1:1883 --bits 1000000

Its buffers are small, so that a sender that is faster than the link has to wait, as with a radio
link, and unlike with a proxy of unbounded buffers.
"""

import argparse
import asyncio
import socket
from contextlib import suppress

HELD = 16 * 1024
"""Bytes per read; the sockets' buffers have this size too."""


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bits: float) -> None:
    """Copy bytes one way at a rate, until either side closes."""
    loop = asyncio.get_running_loop()
    free_at = loop.time()
    with suppress(ConnectionError):
        while data := await reader.read(HELD):
            free_at = max(free_at, loop.time()) + len(data) * 8 / bits
            await asyncio.sleep(free_at - loop.time())
            writer.write(data)
            await writer.drain()
    writer.close()


async def serve(port: int, host: str, to: int, bits: float) -> None:
    """Listen, and copy each connection's bytes at the rate, independently each way."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = socket.socket()
        _narrow(sock)
        sock.setblocking(False)  # noqa: FBT003 - the standard library's own argument
        await asyncio.get_running_loop().sock_connect(sock, (host, to))
        far_reader, far_writer = await asyncio.open_connection(sock=sock, limit=HELD)
        far_writer.transport.set_write_buffer_limits(HELD)
        writer.transport.set_write_buffer_limits(HELD)
        async with asyncio.TaskGroup() as ways:
            ways.create_task(carry(reader, far_writer, bits), name="up")
            ways.create_task(carry(far_reader, writer, bits), name="down")

    listening = socket.create_server(("127.0.0.1", port))
    _narrow(listening)  # accepted sockets inherit the small buffers
    server = await asyncio.start_server(meet, sock=listening, limit=HELD)
    async with server:
        await server.serve_forever()


def _narrow(sock: socket.socket) -> None:
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, buffer, HELD)


def main() -> None:
    """Run the proxy until killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--listen", type=int, required=True, metavar="PORT")
    parser.add_argument("--to", required=True, metavar="HOST:PORT")
    parser.add_argument("--bits", type=float, default=1e6, help="a second, each way")
    options = parser.parse_args()
    host, _, port = options.to.rpartition(":")
    asyncio.run(serve(options.listen, host, int(port), options.bits))


if __name__ == "__main__":
    main()
