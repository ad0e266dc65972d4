"""Blobs that no encoder writes: refused by name, within the memory of the layout."""

import struct
import tracemalloc
from collections.abc import Callable

import msgpack
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from fedbus.compression import chain_of, compressed_bounds, decode, decode_into, encode
from fedbus.compression.body_bytes import BodyBytes
from fedbus.compression.compressed_header import compressed_header_bytes, read_compressed_header
from fedbus.compression.index_codes import marks_between, read_marks, write_indices
from fedbus.compression.zstandard_frame import frame_bounds, open_frame, writer_parameters
from fedbus.errors import LayoutError, PluginError
from fedbus.model import blob
from fedbus.model.blob_header import blob_size, packed_header
from fedbus.model.encodings import SizeBounds
from fedbus.model.frozen_bits import FrozenBits
from fedbus.model.layout import Layout, Tensor
from fedbus.training.params import PluginChoice

LAYOUT = Layout((Tensor("x", (100,), "float32"), Tensor("count", (2,), "int32")))


def step(name: str, **parameters: float) -> PluginChoice:
    """Return a step as a job chooses it."""
    return PluginChoice(id=name, parameters=parameters)


def made(data: bytes, *steps: PluginChoice) -> bytes:
    """Return a blob with a valid header and these data."""
    return compressed_header_bytes(LAYOUT, chain_of(steps), 5) + data


def body_of(*steps: PluginChoice) -> bytearray:
    """Return the data of a valid blob without zstandard."""
    arrays = {"x": np.linspace(-1, 1, 100), "count": np.ones(2, np.int64)}
    whole = encode(arrays, LAYOUT, steps, np.random.default_rng(0))
    return whole[len(compressed_header_bytes(LAYOUT, chain_of(steps), 2**62)) :]


def refusal(data: bytes, *steps: PluginChoice) -> str:
    """Return why a blob is refused."""
    with pytest.raises(LayoutError) as error:
        decode(made(data, *steps), LAYOUT, steps)
    return str(error.value)


def changed(data: bytearray, at: int, new: bytes) -> bytes:
    """Return data with other bytes at a position."""
    data[at : at + len(new)] = new
    return bytes(data)


# ── headers ─────────────────────────────────────────────────────────────────────────────────────


def header(**changes: object) -> bytes:
    """Return a header that differs in some fields from that of a blob without steps."""
    fields = {"encoding": "compressed", "layout": LAYOUT.digest, "steps": [], "seed": 1}
    return packed_header({**fields, **changes})


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (header(encoding="delta"), "a blob that is not compressed, where the job's updates are"),
        (packed_header({"x": 2}), "a blob that is not compressed, where the job's updates are"),
        (header(layout="0" * 64), "a blob of layout 000000000000, where the model's is "),
        (header(steps=[["cast", {}]]), "a blob compressed with [['cast', {}]]; the job has []"),
        (header(steps=None), "a blob compressed with None; the job has []"),
        (header(seed=-1), "a blob with the seed -1; it is 0 to 9223372036854775807"),
        (header(seed=2**63), "a blob with the seed 9223372036854775808; it is 0 to "),
        (header(seed=True), "a blob with the seed True; it is 0 to "),
        (header(seed=1.5), "a blob with the seed 1.5; it is 0 to "),
        (struct.pack("<4sI", b"FBW1", 2**31), "a blob's header of 2147483648 bytes; it must end "),
        (b"FBW1\x01\0\0\0\xc1" + bytes(55), "a blob whose header is not msgpack: "),
    ],
)
def test_a_header_that_differs_from_the_jobs_is_refused(head: bytes, sentence: str) -> None:
    """The steps are those of the task, whatever the blob says."""
    with pytest.raises(LayoutError) as error:
        decode(head + bytes(416), LAYOUT, ())
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not a weights blob: it begins with b''"),
        (b"FBW1", "not a weights blob: it begins with b'FBW1'"),
        (header()[:60], "a blob that ends after 60 bytes, inside its header"),
    ],
)
def test_a_blob_that_ends_in_its_header_is_refused(data: bytes, sentence: str) -> None:
    """Whatever is missing."""
    with pytest.raises(LayoutError) as error:
        decode(data, LAYOUT, ())
    assert str(error.value).startswith(sentence)


def test_a_header_names_the_steps_with_all_parameters() -> None:
    """And the seed, which random-k needs; the greatest chain has four parameters."""
    chain = chain_of((step("top-k"), step("quantize"), step("zstandard")))
    head = compressed_header_bytes(LAYOUT, chain, 2**63 - 1)
    assert read_compressed_header(head, LAYOUT, chain).offset == len(head) == 256
    fields = msgpack.unpackb(head[8 : 8 + int.from_bytes(head[4:8], "little")])
    assert fields["steps"][1] == ["quantize", {"bits": 8, "block": 256}]
    assert fields["seed"] == 2**63 - 1


# ── sizes ───────────────────────────────────────────────────────────────────────────────────────


def test_data_of_another_size_are_refused() -> None:
    """Before anything is allocated."""
    assert refusal(bytes(415)) == "a compressed blob of 415 bytes after its header; expected 416"
    assert refusal(bytes(417)).startswith("a compressed blob of 417 bytes")
    assert refusal(b"", step("cast")).startswith("a compressed blob of 0 bytes")
    assert refusal(bytes(9000), step("zstandard")).startswith("a compressed blob of 9000 bytes")


def test_bytes_beside_the_numbers_are_refused() -> None:
    """With indices the size of a body is within bounds only."""
    body = body_of(step("top-k"))
    sentence = "the numbers of a compressed blob have {} bytes; 40 are expected"
    assert refusal(bytes(body) + b"\0", step("top-k")) == sentence.format(41)
    assert refusal(bytes(body[:-1]), step("top-k")) == sentence.format(39)


# ── numbers ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scale", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize("block", [0, 30])
def test_a_scale_that_is_none_is_refused(scale: float, block: int) -> None:
    """NaN would poison the sum."""
    quantize = step("quantize", block=block)
    data = changed(body_of(quantize), 16, struct.pack("<f", scale))
    assert refusal(data, quantize) == "a scale that is not a finite number, 0 or greater"


def test_a_code_beyond_its_levels_is_refused() -> None:
    """No number is greater than 127, or 7, times its scale."""
    quantize = step("quantize", block=0)
    assert refusal(changed(body_of(quantize), 24, b"\xff"), quantize) == (
        "a number beyond ±127 times its scale"
    )
    four = step("quantize", bits=4, block=0)
    assert refusal(changed(body_of(four), 24, b"\xf0"), four) == (
        "a number beyond ±7 times its scale"
    )


def test_half_a_byte_after_the_last_number_is_zero() -> None:
    """So equal updates have equal bytes."""
    layout = Layout((Tensor("x", (3,), "float32"),))
    steps = (step("quantize", bits=4),)
    whole = encode({"x": np.ones(3)}, layout, steps, np.random.default_rng(0))
    assert blob.decode(decode(whole, layout, steps), layout)["x"].tolist() == [1, 1, 1]
    whole[-1] |= 0x10
    with pytest.raises(LayoutError, match="bits after the last number that are not 0"):
        decode(whole, layout, steps)


def test_a_float16_that_is_not_finite_is_refused() -> None:
    """A cast clips to 65504."""
    for special in (b"\0\x7c", b"\x01\x7c", b"\0\xfc"):
        data = changed(body_of(step("cast")), 18, special)
        assert refusal(data, step("cast")) == "a float16 number that is not finite"


# ── indices ─────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(0, 300), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_any_indices_are_read_as_they_were_written(numbers: int, share: float, seed: int) -> None:
    """In the shorter code, which is never longer than a bitmap."""
    indices = np.flatnonzero(np.random.default_rng(seed).random(numbers) < share)
    written = write_indices(indices, numbers)
    assert len(written) <= 5 + -(-numbers // 8)
    data = BodyBytes.of(memoryview(written + b"more"))
    found = np.flatnonzero(marks_between(read_marks(data, indices.size, numbers), 0, numbers))
    assert (found.tolist(), data.left) == (indices.tolist(), len(b"more"))


def rice(low: int, lows: bytes, unary: bytes) -> bytes:
    """Return Rice codes."""
    return struct.pack("<BI", low, len(lows + unary)) + lows + unary


@pytest.mark.parametrize(
    ("data", "count", "sentence"),
    [
        (b"\0", 1, "indices in 1 bytes; they begin with 5"),
        (
            struct.pack("<BI", 0, 14) + bytes(14),
            1,
            "indices of 14 bytes, beyond the blob or the 10",
        ),
        (struct.pack("<BI", 0, 3) + bytes(2), 1, "indices of 3 bytes, beyond the blob or the 10"),
        (struct.pack("<BI", 255, 12) + bytes(12), 1, "a bitmap of 12 bytes for 100 numbers"),
        (struct.pack("<BI", 255, 13) + bytes(12) + b"\x10", 1, "a bitmap with an index beyond the"),
        (struct.pack("<BI", 255, 13) + bytes(12) + b"\x0c", 1, "expected 1 indices, got 2"),
        (rice(7, b"", b"\x01"), 1, "indices in the unknown code 7"),
        (rice(200, b"", b"\x01"), 1, "indices in the unknown code 200"),
        (rice(6, b"", b"\x01"), 2, "Rice codes of 1 bytes for 2 indices"),
        (rice(0, b"", b"\x03"), 1, "Rice codes that are not those of 1 indices"),
        (rice(0, b"", b"\x01"), 2, "Rice codes that are not those of 2 indices"),
        (rice(2, b"\x40", b"\x01"), 1, "Rice codes that are not those of 1 indices"),
        (rice(6, b"\x3f", b"\x04"), 1, "Rice codes with an index beyond the 100 numbers"),
        (rice(6, b"\x3f", b"\x02"), 1, "Rice codes with an index beyond the 100 numbers"),
        (rice(6, b"\x3f\x0f", b"\x03"), 2, "Rice codes with an index beyond the 100 numbers"),
    ],
)
def test_indices_that_are_none_are_refused(data: bytes, count: int, sentence: str) -> None:
    """Neither code can name an index twice, or out of order."""
    with pytest.raises(LayoutError) as error:
        read_marks(BodyBytes.of(memoryview(data)), count, 100)
    assert str(error.value).startswith(sentence)


# ── frames ──────────────────────────────────────────────────────────────────────────────────────


def read_frame(frame: memoryview, content: SizeBounds) -> bytes:
    """Read the content of a frame in pieces."""
    data = open_frame(frame, content)
    made = b"".join(bytes(data.take(min(150, data.left))) for _ in range(-(-data.left // 150)))
    data.end()
    return made


def frame_refusal(frame: bytes) -> str:
    """Return why a frame of 400 bytes is refused."""
    with pytest.raises(LayoutError) as error:
        read_frame(memoryview(frame), SizeBounds(400, 400))
    return str(error.value)


def test_a_frame_of_another_size_than_the_layout_allows_is_refused() -> None:
    """Whether its header says so or not."""
    compressor = zstandard.ZstdCompressor()
    assert frame_refusal(compressor.compress(bytes(401))).startswith(
        "a zstandard frame of 401 bytes; expected 400"
    )
    assert frame_refusal(compressor.compress(bytes(399))).startswith("a zstandard frame of 399")
    unknown = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(400))
    assert frame_refusal(unknown).startswith("a zstandard frame of 18446744073709551615 bytes")


def test_a_frame_that_lies_about_its_size_is_refused() -> None:
    """The library stops at the size in the header, which was compared with the layout."""
    long, short = (
        zstandard.ZstdCompressor().compress(np.random.default_rng(0).bytes(size))
        for size in (500, 400)
    )
    assert short[4:7] == b"\x60\x90\0"  # a header with a size in two bytes, less 256
    lying = long[:5] + short[5:7] + long[7:]
    assert frame_refusal(lying).startswith("bytes that are no zstandard frame: ")
    cut = short[:5] + long[5:7] + short[7:]
    with pytest.raises(LayoutError, match="bytes that are no zstandard frame: "):
        read_frame(memoryview(cut), SizeBounds(400, 500))


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame[:-1],
        lambda frame: frame + b"\0",
        lambda frame: frame + frame,
        lambda _: b"",
        lambda _: b"\x28\xb5\x2f\xfd",
        lambda _: bytes(50),
    ],
)
def test_bytes_that_are_no_frame_are_refused(change: Callable[[bytes], bytes]) -> None:
    """Truncated, with more behind it, or something else."""
    frame = change(zstandard.ZstdCompressor().compress(bytes(400)))
    assert frame_refusal(frame).startswith("bytes that are no zstandard frame: ")


def test_a_frame_with_a_large_window_gets_none() -> None:
    """A reader has memory for 8 MiB; a frame of a single segment has no window of its own."""
    settings = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=True)
    compressor = zstandard.ZstdCompressor(compression_params=settings)
    frame = bytearray(compressor.compress(bytes(400)))
    assert frame[4] & 0x20  # a single segment
    windowed = bytes([*frame[:4], frame[4] & ~0x20, 17 << 3, *frame[5:]])
    assert zstandard.get_frame_parameters(windowed).window_size == 2**27
    assert "too much memory" in frame_refusal(windowed)


def test_a_bomb_takes_no_more_memory_than_the_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gigabyte of zeros in 33 KB is refused by its header."""
    size = 2**30
    compressor = zstandard.ZstdCompressor().compressobj(size=size)
    frame = b"".join(compressor.compress(bytes(2**20)) for _ in range(1024)) + compressor.flush()
    bounds = compressed_bounds(LAYOUT, (step("zstandard"),))
    assert frame_bounds(SizeBounds(408, 408)).most < len(frame)
    assert refusal(frame, step("zstandard")).startswith(f"a compressed blob of {len(frame)} bytes")
    assert bounds.most < len(frame)
    tracemalloc.start()
    try:
        with pytest.raises(LayoutError, match="a zstandard frame of 1073741824 bytes"):
            read_frame(memoryview(frame), SizeBounds(1, 2**20))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(PluginError, match=r"install fedbus\[compression\]"):
        chain_of((step("zstandard"),)).check_installed()
    chain_of((step("cast"),)).check_installed()


BROAD = Layout((Tensor("a", (900, 1000), "float32"), Tensor("b", (1_100_000,), "float32")))


@pytest.mark.parametrize("bits", [False, True])
@pytest.mark.parametrize(
    "steps",
    [
        (),
        (step("zstandard", level=19),),
        (step("quantize", bits=4, block=0), step("zstandard")),
        (step("top-k", fraction=0.02), step("quantize")),
        (step("top-k", fraction=0.5), step("cast"), step("zstandard")),
        (step("random-k", fraction=0.3), step("quantize", bits=4, block=1000)),
    ],
)
def test_a_blob_is_decoded_in_blocks(steps: tuple[PluginChoice, ...], *, bits: bool) -> None:
    """The memory beside blob and result is 3 MiB, whatever the size of the model: here 8 MB."""
    rng = np.random.default_rng(2)
    arrays = {tensor.name: rng.normal(size=tensor.shape) for tensor in BROAD.tensors}
    frozen = FrozenBits(2_000_000)
    frozen.freeze(5, rng.random(1_500_000) < 0.2)
    left_out = frozen if bits else None
    made = encode(arrays, BROAD, steps, rng, left_out)
    read = bytearray(blob_size(BROAD, "delta"))

    def write(offset: int, data: bytes | memoryview) -> None:
        read[offset : offset + len(data)] = data

    tracemalloc.start()
    try:
        decode_into(write, made, BROAD, steps, left_out)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert used < 3 * 2**20
    flags = frozen.read(0, 2_000_000) if bits else None
    assert decode(made, BROAD, steps, flags) == read
    if not bits and not steps:
        assert blob.decode(read, BROAD)["b"].tolist() == arrays["b"].astype("f4").tolist()


def test_a_frame_of_many_tiny_blocks_is_refused() -> None:
    """Its blocks are counted before it is unpacked."""
    frame = zstandard.ZstdCompressor().compress(bytes(400))[:7]  # its header
    empty, last = (0).to_bytes(3, "little"), (1).to_bytes(3, "little")
    content = (400 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    assert read_frame(memoryview(frame + content + 9 * empty + last), SizeBounds(400, 400)) == (
        bytes(400)
    )
    for many in (frame + content + 90 * empty + last, frame + content + 9 * empty, frame + last):
        assert frame_refusal(many).startswith("bytes that are no zstandard frame: ")


@pytest.mark.parametrize("level", [1, 3, 9, 19])
def test_a_writer_of_frames_needs_at_most_three_mebibytes(level: int) -> None:
    """Level 19 would take 81 MiB for a model of 40 MB, and an agent on a small board has 90."""
    for size in (100, 400_000, 4_000_000, 40_000_000):
        parameters = writer_parameters(level, size)
        assert parameters.estimated_compression_context_size() <= 3 * 2**20


CHAINS = (
    (step("top-k", fraction=0.2), step("quantize", bits=4), step("zstandard")),
    (step("top-k", fraction=0.2), step("cast")),
    (step("random-k", fraction=0.5), step("quantize", block=7)),
    (step("zstandard"),),
    (),
)


@given(st.sampled_from(CHAINS), st.data())
def test_a_damaged_blob_is_refused_or_has_the_layout(
    steps: tuple[PluginChoice, ...], data: st.DataObject
) -> None:
    """Whatever bytes are changed, cut off or added: no other error, no other shape."""
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    arrays = {"x": rng.normal(size=100), "count": np.ones(2, np.int64)}
    whole = encode(arrays, LAYOUT, steps, rng)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(whole)))
    damaged = whole[:end] + data.draw(st.binary(max_size=20)) if data.draw(st.booleans()) else whole
    try:
        read = decode(damaged, LAYOUT, steps)
    except LayoutError:
        return
    assert {name: array.shape for name, array in blob.decode(read, LAYOUT, "delta").items()} == {
        "x": (100,),
        "count": (2,),
    }
