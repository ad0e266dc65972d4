"""Sockets with TLS and without, told apart without loading TLS for the ones without."""

import socket
import ssl
from typing import TypeGuard


def is_tls(sock: socket.socket) -> "TypeGuard[ssl.SSLSocket]":
    """Return whether a connected socket encrypts; `ssl` is not accessed for one that does not."""
    return type(sock) is not socket.socket and isinstance(sock, ssl.SSLSocket)


def wants_more(sock: socket.socket, error: OSError) -> bool:
    """Return whether an error of a non-blocking socket only says that it cannot go on yet."""
    return isinstance(error, BlockingIOError) or (
        is_tls(sock) and isinstance(error, (ssl.SSLWantReadError, ssl.SSLWantWriteError))
    )
