"""Connections of an HTTP server: how many there may be, and how long a client may take to ask.

aiohttp closes a connection that is idle after a request; before the first one it waits without a
limit. Both bounds keep a client that opens connections, or sends a header byte by byte, from using
up the process's files.
"""

import asyncio
from collections.abc import Callable
from typing import Final

MAX_HTTP_CONNECTIONS: Final = 512
FIRST_REQUEST_SECONDS: Final = 15.0
"""Time from the connection, or from the end of the TLS handshake, to the end of the headers."""
TLS_HANDSHAKE_SECONDS: Final = 15.0
_END_OF_HEADERS: Final = b"\r\n\r\n"


class LimitedConnections:
    """Makes the protocols of a server's connections, each around one of `make`."""

    def __init__(self, make: Callable[[], asyncio.Protocol], most: int) -> None:
        self._make, self._most = make, most
        self._open = 0

    def __call__(self) -> "LimitedConnection":
        """Return the protocol of a new connection."""
        return LimitedConnection(self, self._make())

    def opened(self) -> bool:
        """Count a connection; return whether there may be one more."""
        self._open += 1
        return self._open <= self._most

    def closed(self) -> None:
        """Count the end of a connection."""
        self._open -= 1


class LimitedConnection(asyncio.Protocol):
    """One connection, which is closed at once if there are too many, or if no request arrives."""

    def __init__(self, all_of_them: LimitedConnections, inner: asyncio.Protocol) -> None:
        self._all, self._inner = all_of_them, inner
        self._timer: asyncio.TimerHandle | None = None
        self._refused = False
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a server for streams
        if not self._all.opened():
            self._refused = True
            transport.abort()
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(FIRST_REQUEST_SECONDS, transport.abort)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        if self._refused:
            return
        if self._timer is not None:
            seen = self._tail + data
            self._tail = seen[1 - len(_END_OF_HEADERS) :]
            if _END_OF_HEADERS in seen:
                self._timer.cancel()
                self._timer = None
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass the end of the client's bytes on."""
        return None if self._refused else self._inner.eof_received()

    def pause_writing(self) -> None:
        """Pass on that the client takes no more bytes."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the client takes bytes again."""
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the end of the connection."""
        self._all.closed()
        if self._timer is not None:
            self._timer.cancel()
        if not self._refused:
            self._inner.connection_lost(exc)
