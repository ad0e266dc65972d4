"""Control packets come out of a stream however it is cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.mqtt.bus import Packet
from fedbus.mqtt.frames import KEPT_BYTES, MAX_LENT, ROOM_BYTES, Frames
from fedbus.mqtt.publications import read_publication, write_publication


def published(packet: Packet, flags: int = 0) -> bytes:
    """Write a publication as a broker sends it."""
    head, payload = write_publication(packet)
    return bytes([head[0] | flags]) + head[1:] + payload


def feed(frames: Frames, data: bytes) -> list[Packet | int]:
    """Receive bytes; return the publications, and the first byte of every other packet."""
    found: list[Packet | int] = []
    while data:
        room = frames.room()
        assert len(room) >= ROOM_BYTES
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
    long = Packet("t", bytes(2 * KEPT_BYTES))
    assert feed(frames, published(long)) == [long]
    assert len(frames.room()) == 2 * ROOM_BYTES


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
    """No node subscribes with it; paho answers it."""
    assert feed(Frames(), published(Packet("t", b"\0\1"), flags=0x04)) == [0x34]


def test_a_length_without_end_is_refused() -> None:
    """This is not MQTT, and what follows means nothing."""
    with pytest.raises(ValueError, match="length does not end"):
        feed(Frames(), b"\x30\xff\xff\xff\xff")


def lend(frames: Frames, number: int) -> tuple[Packet, set[int]]:
    """Receive a large packet and lend its payload; return the buffers it passed through, too."""
    data = published(Packet("t", bytes([number]) * 300_000))
    found, buffers = [], set()
    while data:
        room = frames.room()
        buffers.add(id(room.obj))
        part, data = data[: len(room)], data[len(room) :]
        room[: len(part)] = part
        del room
        found += [read_publication(frame, lend=True) for frame in frames.received(len(part))]
    (packet,) = found
    assert packet is not None
    assert isinstance(packet.payload, memoryview)
    return packet, buffers


def test_a_lent_payload_stays_as_it_is_until_it_is_released() -> None:
    """Then its buffer takes what comes next, though its packet is still there."""
    frames, kept, buffers = Frames(), [], set()
    for number in range(40):
        packet, used = lend(frames, number)
        buffers |= used
        kept.append(packet)
        if number % 5 == 4:
            payloads = [packet.payload for packet in kept[-5:]]
            assert payloads == [bytes([n]) * 300_000 for n in range(number - 4, number + 1)]
            del payloads
            for packet in kept:
                packet.release()
    assert len(buffers) < 12


def test_a_payload_that_is_never_released_costs_memory_and_stays_as_it_is() -> None:
    """However many: they are not kept anywhere but in their packets."""
    frames = Frames()
    kept = [lend(frames, number)[0] for number in range(40)]
    assert [packet.payload for packet in kept] == [bytes([n]) * 300_000 for n in range(40)]
    assert len(frames._lent) <= MAX_LENT + 1  # noqa: SLF001 - what it holds on to


def test_a_view_of_a_payload_outlives_its_release() -> None:
    """A slice that is kept, or an array over it, keeps these bytes."""
    frames = Frames()
    packet, _ = lend(frames, 1)
    part, array = memoryview(packet.payload)[100:200], np.frombuffer(packet.payload, np.uint8)
    packet.release()
    for number in range(2, 12):
        lend(frames, number)[0].release()
    assert bytes(part) == b"\1" * 100
    assert set(array.tolist()) == {1}
