"""The private names of paho and aiomqtt: each is what fedbus takes it for.

A test that fails here after an upgrade says what moved; `paho_internals.py` is where to mend it.
"""

import re
import socket
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.client import Client

from fedbus.mqtt import paho_internals
from fedbus.mqtt.frames import Frame
from fedbus.mqtt.paho_internals import hand_over, paho_client
from tests.fedbus.mqtt.fakes import ACCEPTED

LIBRARY = Path(paho_internals.__file__).parents[1]
PRIVATE = re.compile(r"noqa:[^\n]*SLF001")
GRANTED = Frame(0x90, memoryview(b"\0\1\0\0"))


async def test_aiomqtt_keeps_its_paho_client_in_client() -> None:
    """`fedbus.mqtt.broker_connection` sets callbacks on it and writes to its socket."""
    found = paho_client(aiomqtt.Client("127.0.0.1"))
    assert isinstance(found, Client), (
        "aiomqtt.Client._client is no longer the paho client behind an aiomqtt client"
    )


def test_paho_reads_a_packet_through_sock_recv(connected: tuple[Client, socket.socket]) -> None:
    """A packet that is handed over calls the callbacks of one from the network."""
    client, _ = connected
    seen: list[object] = []
    client.on_connect = lambda *_: seen.append("connected")
    client.on_subscribe = lambda *args: seen.append(args[2])
    hand_over(client, ACCEPTED)
    hand_over(client, GRANTED)
    assert seen == ["connected", 1], (
        "paho.Client.loop_read() no longer takes the bytes of a packet from Client._sock_recv(n)"
    )


def test_paho_reads_its_socket_again_afterwards(connected: tuple[Client, socket.socket]) -> None:
    """The end of the connection is still found by paho."""
    client, far = connected
    ended: list[object] = []
    client.on_disconnect = lambda *_: ended.append(1)
    hand_over(client, ACCEPTED)
    far.close()
    client.loop_read()
    assert ended == [1], (
        "paho.Client._sock_recv is no longer a method that an attribute of its name stands before"
    )


def test_a_packet_that_paho_refuses_is_an_error(connected: tuple[Client, socket.socket]) -> None:
    """And ends the connection."""
    client, _ = connected
    with pytest.raises(ValueError, match="MQTT does not allow here"):
        hand_over(client, Frame(0xF0, memoryview(b"")))
    assert client.socket() is None, (
        "paho.Client.loop_read() no longer closes the connection over a protocol error"
    )


def test_private_names_are_used_in_one_file() -> None:
    """So that an upgrade of the two libraries is looked at in one place."""
    users = {
        path.name: len(PRIVATE.findall(path.read_text(encoding="utf-8")))
        for path in (LIBRARY / "mqtt").glob("*.py")
        if PRIVATE.search(path.read_text(encoding="utf-8"))
    }
    assert users == {"paho_internals.py": 3}


def test_no_class_of_the_libraries_is_patched() -> None:
    """Another user of paho in this process finds it as it was installed."""
    assert Client.__dict__["_sock_recv"].__module__ == "paho.mqtt.client"
    patched = re.compile(r"(?:Properties|Client|ReasonCode|aiomqtt)\.\w+(?:\.\w+)* = ")
    found = [path.name for path in LIBRARY.rglob("*.py") if patched.search(path.read_text())]
    assert found == []
