"""A chunk is the slice it was made from, or it is refused."""

import struct
import zlib

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbus.blobs.transfer.chunk import HEADER_BYTES, read_chunk, write_chunk
from fedbus.errors import WireError
from fedbus.wire.blobs import CHUNK_BYTES

serials = st.integers(0, 2**32 - 1)
slices = st.binary(max_size=300) | st.sampled_from([b"", bytes(CHUNK_BYTES), b"\xff" * CHUNK_BYTES])


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


@given(bit=st.integers(0, 8 * (HEADER_BYTES + CHUNK_BYTES) - 1))
def test_a_flipped_bit_in_a_whole_chunk_is_found(bit: int) -> None:
    """The check covers the last byte as it does the first."""
    damaged = bytearray(write_chunk(7, 3, bytes(CHUNK_BYTES)))
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
    """Any node may publish any bytes on its own links."""
    with pytest.raises(WireError):
        read_chunk(payload)


def test_a_chunk_longer_than_any_is_refused_before_it_is_read() -> None:
    """The bound is in the sentence."""
    with pytest.raises(WireError, match="chunk: expected 21 to 262165 bytes, got 262166"):
        read_chunk(bytes(HEADER_BYTES + CHUNK_BYTES + 1))


@given(serial=serials, index=serials, data=slices)
def test_any_msgpack_library_reads_a_chunk(serial: int, index: int, data: bytes) -> None:
    """An array of serial, index, crc32 and data, and not a byte behind it."""
    fields = msgpack.unpackb(write_chunk(serial, index, data))
    assert fields == [serial, index, _sum(serial, index, data), data]


LARGE = st.integers(2**16, 2**32 - 1)
"""Integers that msgpack libraries write as uint32, since nothing shorter holds them."""


@given(serial=LARGE, index=LARGE, data=st.just(bytes(CHUNK_BYTES)) | st.binary(min_size=2**16))
def test_a_chunk_of_the_msgpack_library_is_read_where_it_needs_the_widths(
    serial: int, index: int, data: bytes
) -> None:
    """The fixed form is what every library writes of large numbers; no form of our own."""
    crc = _sum(serial, index, data)
    payload = msgpack.packb([serial, index, crc, data])
    if crc < 2**16:
        with pytest.raises(WireError, match=r"uint32 \(0xce\) for the crc32"):
            read_chunk(payload)
        return
    assert payload == write_chunk(serial, index, data)
    chunk = read_chunk(payload)
    assert (chunk.serial, chunk.index, bytes(chunk.data)) == (serial, index, data)


def _sum(serial: int, index: int, data: bytes) -> int:
    """Compute the crc32 of a chunk as its description says."""
    head = b"\x94\xce" + serial.to_bytes(4, "big") + b"\xce" + index.to_bytes(4, "big")
    return zlib.crc32(head + data)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param(
            struct.pack(">4sIII", b"fbc1", 1, 2, zlib.crc32(b"")) + bytes(9),
            r"expected msgpack's array of 4 \(0x94\), got 0x66",
            id="another format",
        ),
        pytest.param(
            msgpack.packb([1, 2, 3, b"x" * 30]),
            r"expected msgpack's uint32 \(0xce\) for the serial, got 0x01",
            id="short integers",
        ),
        pytest.param(
            msgpack.packb([2**40, 2**20, 2**30, b"x" * 30]),
            r"expected msgpack's uint32 \(0xce\) for the serial, got 0xcf",
            id="uint64",
        ),
        pytest.param(
            msgpack.packb([2**20, 7, 2**30, b"x" * 30]),
            r"expected msgpack's uint32 \(0xce\) for the index, got 0x07",
            id="short index",
        ),
        pytest.param(
            msgpack.packb([2**20, 2**20, 7, b"x" * 30]),
            r"expected msgpack's uint32 \(0xce\) for the crc32, got 0x07",
            id="short crc32",
        ),
        pytest.param(
            msgpack.packb([2**20, 2**20, 2**30, b"x" * 30]),
            r"expected msgpack's bin 32 \(0xc6\) for the data, got 0xc4",
            id="bin 8",
        ),
        pytest.param(
            msgpack.packb([2**20, 2**20, 2**30, "x" * 70_000]),
            r"expected msgpack's bin 32 \(0xc6\) for the data, got 0xdb",
            id="string",
        ),
        pytest.param(
            msgpack.packb([2**20, 2**20, 2**30, b"x" * 70_000, None]),
            r"expected msgpack's array of 4 \(0x94\), got 0x95",
            id="a fifth field",
        ),
        pytest.param(
            write_chunk(1, 2, b"abc")[:-1],
            "chunk 2: expected 3 bytes of data, got 2",
            id="cut",
        ),
        pytest.param(
            write_chunk(1, 2, b"abc") + b"d",
            "chunk 2: expected 3 bytes of data, got 4",
            id="bytes behind it",
        ),
        pytest.param(
            write_chunk(1, 2, b"abc")[:17] + b"\xff" * 4 + b"abc",
            "chunk 2: expected 4294967295 bytes of data, got 3",
            id="a length of 4 GiB",
        ),
        pytest.param(
            write_chunk(1, 2, b"abc")[:-1] + b"d",
            "chunk 2: damaged in transit, its crc32 differs",
            id="damaged",
        ),
        pytest.param(b"", "expected 21 to 262165 bytes, got 0", id="empty"),
    ],
)
def test_another_form_than_the_fixed_one_is_refused_and_named(payload: bytes, reason: str) -> None:
    """The author of a client in another language reads what to write instead."""
    with pytest.raises(WireError, match=reason):
        read_chunk(payload)


@pytest.mark.parametrize(
    ("serial", "index", "data", "golden"),
    [
        (0, 0, b"", "94ce00000000ce00000000ce321a5b92c600000000"),
        (0x01020304, 5, b"abc", "94ce01020304ce00000005ce2d52bf18c600000003616263"),
        (
            1,
            2**32 - 1,
            bytes(range(8)),
            "94ce00000001ceffffffffcea45474a3c6000000080001020304050607",
        ),
    ],
)
def test_the_bytes_of_a_chunk_never_change(
    serial: int, index: int, data: bytes, golden: str
) -> None:
    """Golden bytes, the vectors of docs/wire.md: what a client in another language is held to."""
    assert write_chunk(serial, index, data).hex() == golden
    chunk = read_chunk(bytes.fromhex(golden))
    assert (chunk.serial, chunk.index, bytes(chunk.data)) == (serial, index, data)
    assert HEADER_BYTES == 21


def test_reading_copies_nothing() -> None:
    """256 KiB a piece, thousands of times a second."""
    payload = write_chunk(1, 2, b"abc")
    data = read_chunk(payload).data
    assert isinstance(data, memoryview)
    assert data.obj is payload
