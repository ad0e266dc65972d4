"""PUBLISH and PUBACK packets, against paho's writing of them and byte by byte."""

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from fedbus.errors import BusError
from fedbus.mqtt.bus import Packet
from fedbus.mqtt.frames import Frame
from fedbus.mqtt.paho_internals import hand_over
from fedbus.mqtt.publications import (
    LEND_FROM_BYTES,
    MAX_PACKET_BYTES,
    read_acknowledgement,
    read_publication,
    write_acknowledgement,
    write_publication,
)
from tests.fedbus.mqtt.fakes import ACCEPTED, cut

letters = st.characters(codec="utf-8", exclude_characters="\0\ufeff+#")
packets = st.builds(
    Packet,
    topic=st.text(letters, min_size=1, max_size=20),
    payload=st.binary(max_size=300),
    retain=st.booleans(),
    content_type=st.none() | st.text(letters, max_size=20),
    response_topic=st.none() | st.text(letters, max_size=20),
    correlation=st.none() | st.binary(max_size=20),
    expiry=st.none() | st.integers(0, 2**32 - 1),
)


def read(data: bytes, *, lend: bool = False) -> Packet | None:
    """Read a publication that was written whole."""
    (whole,) = cut(data)
    start = next(at for at in range(1, 5) if whole[at] < 0x80) + 1
    return read_publication(Frame(whole[0], memoryview(whole)[start:]), lend=lend)


@given(packets, st.none() | st.integers(1, 65_535))
def test_what_is_written_is_read(packet: Packet, identifier: int | None) -> None:
    """Of QoS 1 with its packet identifier, else without."""
    found = read(b"".join(write_publication(packet, identifier=identifier)))
    assert found is not None
    assert found.receipt == identifier
    fields = ("topic", "payload", "retain", "content_type", "correlation", "expiry")
    assert [getattr(found, name) for name in fields] == [getattr(packet, name) for name in fields]


@pytest.mark.parametrize("identifier", [None, 1])
@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("size", [0, 119, 120, 20_000])
def test_a_publication_is_written_as_paho_writes_it(
    connected: tuple[Client, socket.socket], size: int, identifier: int | None, *, retain: bool
) -> None:
    """To the byte, where its length takes one, two and three bytes."""
    client, far = connected
    far.recv(4096)  # the login
    hand_over(client, ACCEPTED)
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = "t"
    packet = Packet("a/b", bytes(size), retain, content_type="t")
    client.publish(packet.topic, packet.payload, int(identifier is not None), retain, properties)
    written = b"".join(write_publication(packet, identifier=identifier))
    client.disconnect()
    assert far.recv(2**20, socket.MSG_WAITALL) == written + b"\xe0\0"


def test_a_payload_may_have_elements_of_any_size() -> None:
    """Bytes are counted, not elements."""
    numbers: Any = memoryview(bytes(range(16))).cast("I")
    assert read(b"".join(write_publication(Packet("t", numbers)))) == Packet("t", bytes(range(16)))


@pytest.mark.parametrize("identifier", [None, 7])
def test_the_limit_counts_the_whole_packet(identifier: int | None) -> None:
    """Its header included."""
    packet = Packet("topic", bytes(1000), correlation=b"1")
    size = len(b"".join(write_publication(packet, identifier=identifier)))
    assert write_publication(packet, size, identifier)
    with pytest.raises(BusError, match=rf"topic: a packet of {size} bytes; .* at most {size - 1} "):
        write_publication(packet, size - 1, identifier)


def test_a_packet_longer_than_mqtt_allows_is_refused() -> None:
    """Whatever the broker takes: its length would need a fifth byte."""
    with pytest.raises(BusError, match=f"at most {MAX_PACKET_BYTES}"):
        write_publication(Packet("t", bytes(MAX_PACKET_BYTES)))


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (Packet("", b""), "a packet without a topic"),
        (Packet("a/+/b", b""), "expected a topic of at most 65535 bytes without"),
        (Packet("a/#", b""), "expected a topic"),
        (Packet("é" * 40_000, b""), "got one of 80000 bytes"),
        (Packet("\ud800", b""), "surrogates not allowed"),
        (Packet("t", b"", content_type="x" * 65_536), "at most 65535"),
    ],
)
def test_what_cannot_be_published_is_refused(packet: Packet, words: str) -> None:
    """Before it is sent: a broker would end the connection over it."""
    with pytest.raises(BusError, match=words):
        write_publication(packet)


@pytest.mark.parametrize(("size", "lent"), [(LEND_FROM_BYTES - 1, False), (LEND_FROM_BYTES, True)])
def test_only_a_large_payload_is_lent(size: int, *, lent: bool) -> None:
    """A copy of a small one costs less than what is kept for it."""
    packet = read(b"".join(write_publication(Packet("t", bytes(size)))), lend=True)
    assert packet is not None
    assert isinstance(packet.payload, memoryview) is lent


def test_a_topic_longer_than_its_packet_is_refused() -> None:
    """Before it is read."""
    with pytest.raises(ValueError, match="a topic of 9 bytes in a packet of 3"):
        read_publication(Frame(0x30, memoryview(b"\0\x09t")))


def test_a_topic_that_is_no_text_is_ignored() -> None:
    """No subscription matches it."""
    assert read_publication(Frame(0x30, memoryview(b"\0\1\xff\0"))) is None


def test_an_acknowledgement_names_its_publication() -> None:
    """The reason is left out where it is success."""
    written = write_acknowledgement(258)
    assert written == b"\x40\x02\x01\x02"
    assert read_acknowledgement(Frame(0x40, memoryview(written[2:]))) == (258, 0)
    assert read_acknowledgement(Frame(0x40, memoryview(b"\1\2\x87\0"))) == (258, 0x87)
    with pytest.raises(ValueError, match="no packet identifier"):
        read_acknowledgement(Frame(0x40, memoryview(b"\1")))
