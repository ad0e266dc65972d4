"""A TCP proxy in front of the broker that lets a link be slow.

    python -m benchmarks.proxy --listen 2883 --to 127.0.0.1:1883 --bits 1000000

It holds little, so that whoever sends faster than the link carries has to wait: the same that a
radio link does to a sender, and unlike a proxy with a buffer without end.
"""

import argparse
import asyncio
import socket
from contextlib import suppress

HELD = 16 * 1024
"""Bytes read at once; the sockets' own buffers are this small too."""


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bits: float) -> None:
    """Move bytes one way at a rate, until either side closes."""
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
    """Listen, and carry every connection at the rate, each way for itself."""

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
    _narrow(listening)  # what it accepts inherits the narrowness
    server = await asyncio.start_server(meet, sock=listening, limit=HELD)
    async with server:
        await server.serve_forever()


def _narrow(sock: socket.socket) -> None:
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, buffer, HELD)


def main() -> None:
    """Proxy until killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--listen", type=int, required=True, metavar="PORT")
    parser.add_argument("--to", required=True, metavar="HOST:PORT")
    parser.add_argument("--bits", type=float, default=1e6, help="a second, each way")
    options = parser.parse_args()
    host, _, port = options.to.rpartition(":")
    asyncio.run(serve(options.listen, host, int(port), options.bits))


if __name__ == "__main__":
    main()
