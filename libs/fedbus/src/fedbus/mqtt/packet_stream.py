"""Packets into and out of a paho client that is logged in, with nothing in between.

Publications and their acknowledgements are read from its socket and written to it here
(`frames.py`, `publications.py`, `writer.py`); every other packet goes through `on_control` to paho,
which keeps its pings, subscriptions and goodbyes.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from socket import socket

from fedbus.errors import BusError
from fedbus.mqtt.bus import Packet
from fedbus.mqtt.frames import Frame, Frames
from fedbus.mqtt.inbox import Inbox
from fedbus.mqtt.publications import (
    MAX_PACKET_BYTES,
    read_publication,
    write_acknowledgement,
    write_publication,
)
from fedbus.mqtt.tls_sockets import is_tls, wants_more
from fedbus.mqtt.writer import PahoClient, Writer

INBOX_BYTES = 16 * 2**20
"""With more than this not yet received, the network waits."""


def _unheard(*_: object) -> None:
    """Replace a callback once the connection is over."""


class Pipe:
    """Send with back-pressure; read into an inbox."""

    def __init__(  # noqa: PLR0913 - one argument for each thing it is given
        self,
        client: PahoClient,
        on_fault: Callable[[Exception], None],
        on_control: Callable[[Frame], None],
        on_bytes: Callable[[], None] = lambda: None,
        *,
        on_first: Callable[[memoryview], None] = lambda _: None,
        lend: bool = False,
    ) -> None:
        self.inbox = Inbox(INBOX_BYTES, on_room=self._read_on)
        self.limit = MAX_PACKET_BYTES
        self._client = client
        self._on_fault = on_fault
        self._on_control = on_control
        self._on_bytes = on_bytes
        self._on_first: Callable[[memoryview], None] | None = on_first
        self._lend = lend
        self._writer = Writer(client, on_failure=self.read)
        self._frames = Frames()
        self._loop = asyncio.get_running_loop()
        self._fd = -1
        self._faulty = False

    def listen(self) -> None:
        """Read from now on: also the login's answer, for what the broker kept comes behind it."""
        sock = self._client.socket()
        if sock is not None:
            self._fd = sock.fileno()
            self._loop.add_reader(self._fd, self.read)

    def open(self) -> None:
        """Write from now on; the client is logged in."""
        self._writer.open()

    def end(self, error: BusError) -> None:
        """Wake all that send or receive, with this error."""
        self.inbox.end(error)
        self._writer.end(error)

    def close(self, error: BusError) -> None:
        """Drop every reference that leads back to this pipe; senders and receivers get this error.

        Otherwise each connection's buffers and objects would stay until Python next collects
        cycles, which a service that does little besides connecting again rarely makes it do.
        """
        self._on_fault, self._on_control = _unheard, _unheard
        self._on_bytes, self._on_first = _unheard, None
        self._writer.close(error)
        self._frames.close()
        self.inbox.close(error)

    async def send(self, *packets: Packet) -> None:
        """Write publications of QoS 0, in one go; wait while the socket is full.

        Raises:
            BusError: the connection ended, or a packet can never be sent: then none of them is.
        """
        parts = [part for packet in packets for part in write_publication(packet, self.limit)]
        await self._writer.write(*parts)

    def send_now(self, *packets: Packet) -> bool:
        """Write publications as `send` does, unless earlier ones wait; return whether it did.

        Raises:
            BusError: as `send`.
        """
        parts = [part for packet in packets for part in write_publication(packet, self.limit)]
        return self._writer.write_now(*parts)

    async def deliver(self, packet: Packet, identifier: int) -> None:
        """Write a publication of QoS 1; wait while the socket is full.

        Raises:
            BusError: the connection ended, or the packet can never be sent.
        """
        await self._writer.write(*write_publication(packet, self.limit, identifier))

    async def acknowledge(self, receipt: int) -> None:
        """Write that a publication has been processed.

        Raises:
            BusError: the connection ended.
        """
        await self._writer.write(write_acknowledgement(receipt))

    def read(self) -> None:
        """Read what has arrived, up to a turn's share of it."""
        sock = self._client.socket()
        if sock is None or self._faulty:
            return
        try:
            room = self._frames.room()
            count = sock.recv_into(room)
            if is_tls(sock):
                count = _read_records(sock, room, count)
            if self._on_first is not None and count:
                self._on_first(room[:count])
                self._on_first = None
            self._take(count)
        except OSError as error:
            if wants_more(sock, error):
                return
            self._client.loop_read()  # it finds the same, and reports it
        except Exception as error:  # noqa: BLE001 - the same bytes would fail again and again
            self._faulty = True
            self._loop.remove_reader(self._fd)
            self._on_fault(error)
        self.inbox.stir()
        if self._client.socket() is None:
            return
        if self.inbox.full:
            self._loop.remove_reader(self._fd)
        elif self._decrypted():
            self._loop.call_soon(self.read)

    def _take(self, count: int) -> None:
        if not count:
            self._client.loop_read()  # the end of the connection, which it reports
            return
        self._on_bytes()
        for frame in self._frames.received(count):
            if not frame.is_publication:
                self._on_control(frame)
            elif (packet := read_publication(frame, lend=self._lend)) is not None:
                self.inbox.put(packet)

    def _read_on(self) -> None:
        if self._client.socket() is not None and not self._faulty:
            self._loop.add_reader(self._fd, self.read)
            self._loop.call_soon(self.read)

    def _decrypted(self) -> int:
        """Return the number of bytes that TLS has decrypted and no event will announce."""
        sock = self._client.socket()
        return sock.pending() if is_tls(sock) else 0


def _read_records(sock: socket, room: memoryview, count: int) -> int:
    """Read further records of TLS, each of 16 KiB at most, while there is room for them."""
    with suppress(OSError):  # `SSLWantReadError` is one; any other is found again by the next read
        while 0 < count < len(room) and (more := sock.recv_into(room[count:])):
            count += more
    return count
