"""The blob of a masked update: size, and the check of each field before a number is read."""

from dataclasses import fields, replace
from typing import Any

import msgpack
import pytest

from fedbus.errors import LayoutError
from fedbus.model.blob_header import MAX_BLOB_HEADER_BYTES
from fedbus.model.layout import Layout, Tensor
from fedbus.secure_aggregation.masked_blob import (
    MaskedHeader,
    check_masked_blob,
    masked_blob,
    masked_bounds,
    masked_header,
    masked_numbers,
)
from fedbus.secure_aggregation.masked_task import MaskedTask
from fedbus.wire.encryption import FixedPoint
from tests.fedbus.secure_aggregation.masked_agents import TASK, Federation

FIXED_POINT = FixedPoint(bits=16, max_agents=100, max_examples=1000)
LAYOUT = Layout(
    (
        Tensor("w", (300, 7), "float32", "weight"),
        Tensor("b", (7,), "float16", "weight"),
        Tensor("own", (9,), "float32", "local"),
    )
)
OTHERS: dict[str, Any] = {
    "layout": "f" * 64,
    "job": "other",
    "round": 4,
    "task": 8,
    "ranges": "0" * 64,
    "bits": 15,
    "modulus_bits": 22,
    "max_examples": 999,
    "weight": 41,
}


def header(task: MaskedTask = TASK, weight: int = 40) -> MaskedHeader:
    """Return the header of an update of `LAYOUT`."""
    return masked_header(
        layout=LAYOUT,
        task=task,
        fixed_point=FIXED_POINT,
        ranges=(0, -126),
        max_examples=1000,
        weight=weight,
    )


def blob(of: MaskedHeader) -> bytearray:
    """Return a blob of zeros."""
    numbers = Federation(1, numbers=masked_numbers(LAYOUT)).updates["agent.a000"]
    return masked_blob(numbers, of, ())


def test_local_tensors_are_not_in_it() -> None:
    """They stay on the agent."""
    assert masked_numbers(LAYOUT) == 2107


def test_a_blob_of_the_task_is_accepted_from_its_first_bytes() -> None:
    """The collector reads them before it fetches the rest."""
    made = blob(header())
    at = check_masked_blob(made[:MAX_BLOB_HEADER_BYTES], len(made), header(), 2107)
    assert at % 64 == 0
    assert len(made) == at + 8 * 23 * 33


@pytest.mark.parametrize("field", [field.name for field in fields(MaskedHeader)])
def test_each_field_must_be_that_of_the_task(field: str) -> None:
    """An update of another task, range or weight would spoil the sum."""
    wrong = replace(header(), **{field: OTHERS[field]})
    made = blob(replace(wrong, modulus_bits=23))
    if field == "modulus_bits":
        made = blob(wrong)
    with pytest.raises(LayoutError, match=f"a masked update with {field} .*, expected"):
        check_masked_blob(made, len(made), header(), 2107)


def test_a_flag_is_no_number() -> None:
    """`True` equals 1 in Python."""
    made = blob(replace(header(weight=1), weight=True))
    with pytest.raises(LayoutError, match="weight True, expected 1"):
        check_masked_blob(made, len(made), header(weight=1), 2107)


def test_the_size_must_be_exact() -> None:
    """Nothing is allocated for another size."""
    made = blob(header())
    for size in (len(made) - 1, len(made) + 1):
        with pytest.raises(LayoutError, match=f"of {size} bytes; 2107 numbers have {len(made)}"):
            check_masked_blob(made, size, header(), 2107)


def framed(content: object, length: int | None = None) -> bytes:
    """Return the start of a blob with a header of this content."""
    packed = msgpack.packb(content) if not isinstance(content, bytes) else content
    length = len(packed) if length is None else length
    return b"FBW1" + length.to_bytes(4, "little") + packed + bytes(64)


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"", "not a weights blob"),
        (b"nonsense" * 10, "not a weights blob"),
        (framed(b"", 2**32 - 1), "whose header ends after byte"),
        (framed(b"\xc1"), "not msgpack"),
        (framed({"encoding": "delta", "layout": "f" * 64}), "'delta' where a masked one belongs"),
        (framed({"encoding": "masked", "layout": "f" * 64}), "'masked' where a masked one"),
        (framed([1]), "has no encoding"),
        (framed({"encoding": "masked", "layout": "f" * 64, "masked": {}}), "with layout 'ffff"),
    ],
)
def test_what_is_no_masked_blob_is_refused(start: bytes, reason: str) -> None:
    """It came from another node."""
    with pytest.raises(LayoutError, match=reason):
        check_masked_blob(start, 10_000, header(), 2107)


@pytest.mark.parametrize(
    "task",
    [
        MaskedTask(job="j", round=1, task=1),
        MaskedTask(job="j" * 64, round=2**31 - 1, task=2**31 - 1),
    ],
)
@pytest.mark.parametrize("weight", [1, 1000])
def test_each_blob_is_within_the_bounds(task: MaskedTask, weight: int) -> None:
    """A larger one is refused before it is fetched."""
    bounds = masked_bounds(FIXED_POINT, LAYOUT)
    assert bounds.least <= len(blob(header(task, weight))) <= bounds.most
    assert bounds.most - bounds.least <= 128


def test_tensors_with_whole_numbers_cannot_be_masked() -> None:
    """They have no range."""
    with pytest.raises(LayoutError, match="only floating-point tensors"):
        masked_numbers(Layout((Tensor("n", (2,), "int64", "weight"),)))
