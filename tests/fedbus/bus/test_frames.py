"""Control packets come out of a stream however it is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.bus.base import Packet
from fedbus.bus.frames import KEPT, ROOM, Frames
from fedbus.bus.publications import read_publication, write_publication


def published(packet: Packet, flags: int = 0) -> bytes:
    """Write a publication as a broker sends it."""
    head, payload = write_publication(packet)
    return bytes([head[0] | flags]) + head[1:] + payload


def feed(frames: Frames, data: bytes) -> list[Packet | int]:
    """Let bytes arrive; returns the publications, and the first byte of every other packet."""
    found: list[Packet | int] = []
    while data:
        room = frames.room()
        assert len(room) >= ROOM
        part, data = data[: len(room)], data[len(room) :]
        room[: len(part)] = part
        for frame in frames.received(len(part)):
            read = read_publication(frame) if frame.is_publication else frame.head
            assert read is not None
            found.append(read)
    return found


packets = st.builds(
    Packet,
    topic=st.text(st.characters(codec="utf-8", exclude_characters="+#"), min_size=1, max_size=8),
    payload=st.one_of(st.binary(max_size=40), st.integers(0, 200_000).map(bytes)),
    retain=st.booleans(),
    content_type=st.none() | st.just("application/json"),
    response_topic=st.none() | st.just("fedbus/v1/replies/me"),
    correlation=st.none() | st.binary(max_size=4),
    expiry=st.none() | st.integers(0, 2**32 - 1),
)


@given(st.lists(packets, max_size=5), st.lists(st.integers(1, 100_000), max_size=9))
def test_what_is_sent_comes_out_however_the_stream_is_cut(
    sent: list[Packet], cuts: list[int]
) -> None:
    """All of it, in its order, with a ping's answer behind each."""
    stream = b"".join(published(packet) + b"\xd0\0" for packet in sent)
    frames, found = Frames(), []
    for cut in cuts:
        found += feed(frames, stream[:cut])
        stream = stream[cut:]
    found += feed(frames, stream)
    assert found == [each for packet in sent for each in (packet, 0xD0)]


def test_room_that_one_long_packet_took_is_given_back() -> None:
    """With the next that arrives."""
    frames = Frames()
    long = Packet("t", bytes(2 * KEPT))
    assert feed(frames, published(long)) == [long]
    assert len(frames.room()) == 2 * ROOM


def test_a_publication_that_is_to_be_acknowledged_has_a_receipt() -> None:
    """Its packet identifier, which stands between topic and properties."""
    body = b"\0\1t\x01\x02\0job"
    again = Packet("t", b"job", receipt=258, redelivered=True)
    assert feed(Frames(), b"\x3a" + bytes([len(body)]) + body) == [again]
    first = Packet("t", b"job", receipt=258)
    assert feed(Frames(), b"\x32" + bytes([len(body)]) + body) == [first]
    with pytest.raises(ValueError, match="no packet identifier"):
        feed(Frames(), b"\x32\x03\0\1t")


def test_a_publication_of_the_third_service_is_not_ours_to_read() -> None:
    """Nobody here subscribes so; paho answers it."""
    assert feed(Frames(), published(Packet("t", b"\0\1"), flags=0x04)) == [0x34]


def test_a_length_without_end_is_refused() -> None:
    """This is not MQTT, and what follows means nothing."""
    with pytest.raises(ValueError, match="length does not end"):
        feed(Frames(), b"\x30\xff\xff\xff\xff")


def test_a_lent_payload_stays_as_it_is_until_it_is_let_go() -> None:
    """Then its buffer takes what comes next; copied is only the small beginning of another."""
    frames, kept, buffers = Frames(), [], set()
    for number in range(40):
        data = published(Packet("t", bytes([number]) * 300_000))
        while data:
            room = frames.room()
            buffers.add(id(room.obj))
            part, data = data[: len(room)], data[len(room) :]
            room[: len(part)] = part
            del room
            kept += [read_publication(f, lend=True) for f in frames.received(len(part))]
        if number % 5 == 4:
            payloads = [packet.payload for packet in kept if packet is not None]
            assert not any(isinstance(payload, bytes) for payload in payloads)
            assert payloads == [bytes([n]) * 300_000 for n in range(number - 4, number + 1)]
            kept.clear()
            del payloads
    assert len(buffers) < 12
