"""Blob of a masked update: the header of a weights blob with a map of its own, and packed numbers.

    offset  bytes
    0       4      magic, b"FBW1"
    4       4      length of the map, unsigned, little-endian
    8       n      msgpack map {"encoding": "masked", "layout": sha256 of the layout,
                   "masked": the fields of `MaskedHeader`}
    …       0-63   zeros, until the offset is a multiple of 64
    …       …      numbers of `modulus_bits` bits each (`bit_packing`)

All that its numbers depend on is in the header, and the collector compares it with what the task
says before it reads a number. Pure.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Final

import msgpack

from fedbus.errors import LayoutError
from fedbus.limits import MAX_IDENT_CHARACTERS
from fedbus.model.blob_header import MAGIC, MAX_BLOB_HEADER_BYTES, Blob
from fedbus.model.encodings import SizeBounds
from fedbus.model.fixed_point import Wholes, fixed_point_tensors, sum_bits
from fedbus.model.layout import Layout
from fedbus.secure_aggregation.bit_packing import pack_block, packed_size
from fedbus.secure_aggregation.mask_streams import (
    BLOCK_NUMBERS,
    Mask,
    Words,
    apply_masks,
    reduce_words,
    word_type,
)
from fedbus.secure_aggregation.masked_task import MaskedTask
from fedbus.wire.encryption import FixedPoint

_FIXED: Final = struct.Struct("<4sI")
_ALIGNMENT_BYTES: Final = 64
_LARGEST: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedHeader:
    """What the numbers of a masked update depend on.

    Attributes:
        layout: The digest of the model's layout.
        job: The job.
        round: The round.
        task: The task.
        ranges: SHA-256 of the exponents, one signed byte each.
        bits: Bits of one agent's number.
        modulus_bits: Bits of the sum, and of each number in the blob.
        max_examples: The plan's.
        weight: The agent's examples, at most `max_examples`.
    """

    layout: str
    job: str
    round: int
    task: int
    ranges: str
    bits: int
    modulus_bits: int
    max_examples: int
    weight: int


def masked_header(  # noqa: PLR0913 - what one update depends on
    *,
    layout: Layout,
    task: MaskedTask,
    fixed_point: FixedPoint,
    ranges: Sequence[int],
    max_examples: int,
    weight: int,
) -> MaskedHeader:
    """Return the header that the update of an agent with `weight` examples must have."""
    return MaskedHeader(
        layout=layout.digest,
        job=task.job,
        round=task.round,
        task=task.task,
        ranges=hashlib.sha256(struct.pack(f"{len(ranges)}b", *ranges)).hexdigest(),
        bits=fixed_point.bits,
        modulus_bits=sum_bits(fixed_point.bits, fixed_point.max_agents),
        max_examples=max_examples,
        weight=weight,
    )


def masked_numbers(layout: Layout) -> int:
    """Return the numbers of a masked update; raises LayoutError as `fixed_point_tensors` does."""
    return sum(tensor.numbers for tensor in fixed_point_tensors(layout))


def masked_bounds(fixed_point: FixedPoint, layout: Layout) -> SizeBounds:
    """Return the least and the most bytes of a masked update of any job, header included."""
    modulus_bits = sum_bits(fixed_point.bits, fixed_point.max_agents)
    size = packed_size(masked_numbers(layout), modulus_bits)

    def header(job: str, number: int) -> int:
        of_task = MaskedTask(job=job, round=number, task=number)
        made = masked_header(
            layout=layout,
            task=of_task,
            fixed_point=fixed_point,
            ranges=(),
            max_examples=number,
            weight=number,
        )
        return len(_header_bytes(made))

    return SizeBounds(header("j", 1) + size, header("j" * MAX_IDENT_CHARACTERS, _LARGEST) + size)


def masked_blob(numbers: Wholes, header: MaskedHeader, masks: Sequence[Mask]) -> bytearray:
    """Return the blob of an update's whole numbers, with masks added modulo 2^m."""
    bits, kind = header.modulus_bits, word_type(header.modulus_bits)
    head = _header_bytes(header)
    blob = bytearray(len(head) + packed_size(len(numbers), bits))
    blob[: len(head)] = head
    view, at = memoryview(blob), len(head)
    for start in range(0, len(numbers), BLOCK_NUMBERS):
        block = numbers[start : start + BLOCK_NUMBERS].astype(kind)
        apply_masks(block, masks, start)
        reduce_words(block, bits)
        at += pack_block(block, bits, view[at:])
    return blob


def check_masked_blob(prefix: Blob, size: int, expected: MaskedHeader, numbers: int) -> int:
    """Return where the packed numbers of a blob begin, in bytes.

    Args:
        prefix: The blob, or its first `MAX_BLOB_HEADER_BYTES` bytes.
        size: Bytes of the whole blob.
        expected: The header that it must have.
        numbers: Numbers that it must have.

    Raises:
        LayoutError: It is no masked blob, a field is another one, or its size is.
    """
    header, offset = _read_header(bytes(memoryview(prefix).cast("B")[:MAX_BLOB_HEADER_BYTES]))
    for field in fields(MaskedHeader):
        found, wanted = header.get(field.name), getattr(expected, field.name)
        if type(found) is not type(wanted) or found != wanted:
            shown = f"{found!r:.64}"
            raise LayoutError(f"a masked update with {field.name} {shown}, expected {wanted!r}")
    whole = offset + packed_size(numbers, expected.modulus_bits)
    if size != whole:
        raise LayoutError(f"a masked update of {size} bytes; {numbers} numbers have {whole}")
    return offset


def unmask_block(total: Words, masks: Sequence[Mask], start: int, bits: int) -> None:
    """Take the masks away from a block of the sum in place, modulo 2^m.

    Args:
        total: Numbers `start` and following of the sum, of the type `word_type(bits)`.
        masks: `MaskedRound.masks()`.
        start: A multiple of `BLOCK_NUMBERS`.
        bits: m.
    """
    apply_masks(total, masks, start)
    reduce_words(total, bits)


def _header_bytes(header: MaskedHeader) -> bytes:
    content = asdict(header)
    outer = {"encoding": "masked", "layout": content.pop("layout"), "masked": content}
    packed: bytes = msgpack.packb(outer)
    head = _FIXED.pack(MAGIC, len(packed)) + packed
    return head + bytes(-len(head) % _ALIGNMENT_BYTES)


def _read_header(start: bytes) -> tuple[dict[str, object], int]:
    if len(start) < _FIXED.size or not start.startswith(MAGIC):
        raise LayoutError(f"not a weights blob: it begins with {start[:4]!r}, not {MAGIC!r}")
    end = _FIXED.size + int(_FIXED.unpack_from(start)[1])
    offset = end + -end % _ALIGNMENT_BYTES
    if offset > len(start):
        raise LayoutError(f"a masked update whose header ends after byte {len(start)}")
    try:
        content = msgpack.unpackb(start[_FIXED.size : end])
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise LayoutError(f"a blob whose header is not msgpack: {error}") from error
    match content:
        case {"encoding": "masked", "layout": str(layout), "masked": dict(inner)}:
            return {**inner, "layout": layout}, offset
        case {"encoding": str(name)}:
            raise LayoutError(f"a blob of the encoding {name!r:.64} where a masked one belongs")
        case _:
            raise LayoutError("a blob whose header has no encoding")
