"""A chunk is the slice it was made from, or it is refused."""

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbus.errors import WireError
from fedbus.transfer.chunk import HEADER_BYTES, read_chunk, write_chunk
from fedbus.wire.values import CHUNK

serials = st.integers(0, 2**32 - 1)
slices = st.binary(max_size=300) | st.sampled_from([b"", bytes(CHUNK), b"\xff" * CHUNK])


@given(serial=serials, index=serials, data=slices)
def test_a_chunk_is_read_as_it_was_written(serial: int, index: int, data: bytes) -> None:
    """Serial, index and every byte; an empty slice is one, too."""
    chunk = read_chunk(write_chunk(serial, index, memoryview(data)))
    assert (chunk.serial, chunk.index, bytes(chunk.data)) == (serial, index, data)


@settings(max_examples=30)
@given(serial=serials, index=serials, data=st.binary(max_size=60))
def test_every_flipped_bit_is_found(serial: int, index: int, data: bytes) -> None:
    """In the header as in the content: it costs one chunk, and no wrong byte is written."""
    payload = write_chunk(serial, index, data)
    for bit in range(8 * len(payload)):
        damaged = bytearray(payload)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError):
            read_chunk(bytes(damaged))


@given(bit=st.integers(0, 8 * (HEADER_BYTES + CHUNK) - 1))
def test_a_flipped_bit_in_a_whole_chunk_is_found(bit: int) -> None:
    """The check covers the last byte as it does the first."""
    damaged = bytearray(write_chunk(7, 3, bytes(CHUNK)))
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(WireError):
        read_chunk(bytes(damaged))


@given(data=st.binary(max_size=60), cut=st.integers(1, 80))
def test_a_shortened_chunk_is_found(data: bytes, cut: int) -> None:
    """What the crc covers is missing, or the crc itself."""
    payload = write_chunk(7, 3, data)
    with pytest.raises(WireError):
        read_chunk(payload[: max(0, len(payload) - cut)])


@given(payload=st.binary(max_size=100))
def test_noise_is_no_chunk(payload: bytes) -> None:
    """Anybody may publish anything on a lane of his own."""
    with pytest.raises(WireError):
        read_chunk(payload)


def test_a_chunk_longer_than_any_is_refused_before_it_is_read() -> None:
    """The bound is the sentence."""
    with pytest.raises(WireError, match="chunk: 262161 bytes, at most 262160"):
        read_chunk(bytes(HEADER_BYTES + CHUNK + 1))


def test_other_magic_is_refused_though_its_sum_is_right() -> None:
    """A later version of the header is another header."""
    head = struct.pack(">4sII", b"fbc2", 1, 2)
    payload = head + struct.pack(">I", zlib.crc32(b"x", zlib.crc32(head))) + b"x"
    with pytest.raises(WireError, match="does not start with fbc1"):
        read_chunk(payload)


def test_the_layout_of_the_header_never_changes() -> None:
    """Golden bytes: magic, serial, index, crc32, all big-endian, then the slice as it is."""
    assert write_chunk(0x01020304, 5, b"abc").hex() == "666263310102030400000005631640a9616263"
    assert HEADER_BYTES == 16


def test_reading_copies_nothing() -> None:
    """256 KiB a piece, thousands of times a second."""
    payload = write_chunk(1, 2, b"abc")
    data = read_chunk(payload).data
    assert isinstance(data, memoryview)
    assert data.obj is payload
