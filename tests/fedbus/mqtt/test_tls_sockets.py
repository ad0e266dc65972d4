"""Sockets with TLS and without, of real pairs."""

import socket
import ssl

import pytest

from fedbus.mqtt.tls_sockets import is_tls, wants_more


def test_a_plain_socket_waits_at_blocking_alone() -> None:
    """An error of TLS cannot come from it, and any other error ends the connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        assert not is_tls(ours)
        with pytest.raises(BlockingIOError) as caught:
            ours.recv(1)
        assert wants_more(ours, caught.value)
        assert not wants_more(ours, ConnectionResetError())
        assert not wants_more(ours, ssl.SSLWantReadError())


def test_a_socket_with_tls_waits_for_the_rest_of_a_record_too() -> None:
    """It reports that with errors of its own."""
    ours, theirs = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    with theirs, context.wrap_socket(ours, do_handshake_on_connect=False) as encrypted:
        encrypted.setblocking(False)
        assert is_tls(encrypted)
        with pytest.raises(ssl.SSLWantReadError) as caught:
            encrypted.do_handshake()
        assert wants_more(encrypted, caught.value)
        assert wants_more(encrypted, ssl.SSLWantWriteError())
        assert not wants_more(encrypted, ssl.SSLEOFError())
