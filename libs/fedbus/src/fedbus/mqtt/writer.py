"""The writing half of a connection: our packets whole and in order, paho's own between them.

paho keeps what it has to say (pings, subscriptions, the goodbye) in a queue of its own. The queue
is written before or after a packet of ours, never inside one.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from fedbus.errors import BusError
from fedbus.mqtt.tls_sockets import is_tls, wants_more

WRITES_PER_TURN = 32
"""Calls of `write` that are done at once, before other tasks get their turn."""
JOIN_UP_TO_BYTES = 16 * 1024
"""Parts up to this length together are copied into one; longer ones are left where they are."""


MAX_PARTS = 512
"""Parts in one system call; POSIX allows 1024 on the systems that fedbus supports."""


class PahoClient(Protocol):
    """The public methods of a paho client that a foreign event loop calls."""

    on_socket_register_write: Any
    on_socket_unregister_write: Any

    def socket(self) -> Any:  # noqa: ANN401 - what paho calls a socket
        """Return its socket; None once it is closed."""

    def want_write(self) -> bool:
        """Whether packets of its own wait to be written."""

    def loop_write(self) -> object:
        """Write as many of them as the socket takes."""

    def loop_read(self) -> object:
        """Read one packet, or the end of the connection."""


class Writer:
    """Write to the socket of a paho client; let publishers wait while it takes no more."""

    def __init__(self, client: PahoClient, on_failure: Callable[[], None]) -> None:
        self._client = client
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._fd = -1
        self._tls = False
        self._rest: list[memoryview] = []
        self._begun = False
        self._watching = False
        self._room = asyncio.Event()  # for another packet
        self._room.set()
        self._end: BusError | None = None
        self._in_turn = 0

    def open(self) -> None:
        """Take over the client's callbacks for writing; it is logged in."""
        client = self._client
        self._fd = client.socket().fileno()
        self._tls = is_tls(client.socket())
        client.on_socket_register_write = self._watch
        client.on_socket_unregister_write = self._unwatch_if_done
        if client.want_write():
            self._watch()

    def end(self, error: BusError) -> None:
        """Wake all that wait to send, with this error; what has been begun is still written."""
        self._end = self._end or error
        self._room.set()

    def close(self, error: BusError) -> None:
        """Drop every reference that leads back to the connection; senders get this error."""
        self._end, self._on_failure = error, lambda: None
        self._rest = []
        self._room.set()

    async def write(self, *parts: bytes | memoryview) -> None:
        """Write the parts of whole packets; wait while the socket is full.

        A cancelled caller leaves the stream whole: what is left of its packets is still written.

        Raises:
            BusError: the connection ended.
        """
        while not self.write_now(*parts):
            await self._room.wait()
        if not self._room.is_set():
            await self._room.wait()
            self._raise_if_ended()
            return
        self._in_turn += 1
        if self._in_turn >= WRITES_PER_TURN:
            self._in_turn = 0
            await asyncio.sleep(0)

    def write_now(self, *parts: bytes | memoryview) -> bool:
        """Begin to write the parts of whole packets, unless others wait; return whether it did.

        What the socket does not take at once is written later.

        Raises:
            BusError: the connection ended.
        """
        if not self._room.is_set():
            return False
        self._raise_if_ended()
        if self._tls or sum(map(len, parts)) <= JOIN_UP_TO_BYTES:
            self._rest = [memoryview(b"".join(parts))]
        else:
            self._rest = [memoryview(part) for part in parts]
        self._push()
        self._raise_if_ended()  # writing may find the other end gone
        if self._rest or self._client.want_write():
            self._rest = [_owned(part) for part in self._rest]
            self._room.clear()
            self._watch()
        return True

    def _push(self) -> None:
        """Write what is left of ours and what paho has to say, as far as the socket takes it.

        A packet of ours counts as begun with the first attempt: TLS may have sent a part of it when
        it reports that it sent nothing.
        """
        sock = self._client.socket()
        if sock is None:
            self._rest = []
            return
        if not self._begun and self._client.want_write():
            self._client.loop_write()
            if self._client.want_write():
                return
        try:
            while self._rest:
                self._begun = True
                rest = self._rest[:MAX_PARTS]
                self._written(sock.send(rest[0]) if len(rest) == 1 else sock.sendmsg(rest))
        except OSError as error:
            if wants_more(sock, error):
                return
            self._fail(sock)
            return
        self._begun = False
        if self._client.want_write():
            self._client.loop_write()

    def _written(self, count: int) -> None:
        while self._rest and count >= len(self._rest[0]):
            count -= len(self._rest.pop(0))
        if count:
            self._rest[0] = self._rest[0][count:]

    def _fail(self, sock: Any) -> None:  # noqa: ANN401 - as paho has it
        """End the connection; what the broker said before it closed is read first."""
        self._rest, self._begun = [], False
        with suppress(OSError):
            # Of the base class: that of `SSLSocket` also ends decryption of what has arrived.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        self._on_failure()

    def _raise_if_ended(self) -> None:
        if self._end is not None:
            raise self._end

    # ── what the client and the event loop call ──────────────────────────────────────────────────

    def _watch(self, *_: object) -> None:
        if not self._watching and self._client.socket() is not None:
            self._loop.add_writer(self._fd, self._on_writable)
            self._watching = True

    def _unwatch_if_done(self, *_: object) -> None:
        if not self._rest or self._client.socket() is None:
            self._unwatch()

    def _unwatch(self) -> None:
        if self._watching:
            self._loop.remove_writer(self._fd)
            self._watching = False

    def _on_writable(self) -> None:
        self._push()
        if not self._rest and not self._client.want_write():
            self._unwatch()
            self._room.set()


def _owned(part: memoryview) -> memoryview:
    """Copy bytes that their owner may change while they wait, say after a cancellation."""
    return part if isinstance(part.obj, bytes) else memoryview(bytes(part))
