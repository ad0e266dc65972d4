"""Choice of x or y, the half of a row that a transform changes."""

from dataclasses import replace
from typing import Literal

from fedbus.data.dataset import Batch
from fedbus.data.format import Field, Format
from fedbus.errors import TrainingError
from fedbus.model.layout import Array

Half = Literal["x", "y"]


def check_half(of: Half) -> Half:
    """Raise TrainingError for other values than x and y."""
    if of not in {"x", "y"}:
        raise TrainingError(f"of is {of!r}: expected x or y")
    return of


def rows(batch: Batch, of: Half) -> Array:
    """Return one half of a batch."""
    return batch[0] if of == "x" else batch[1]


def with_rows(batch: Batch, of: Half, made: Array) -> Batch:
    """Return the batch with one half replaced."""
    return (made, batch[1]) if of == "x" else (batch[0], made)


def field(form: Format, of: Half) -> Field:
    """Return one half of a format."""
    return form.x if of == "x" else form.y


def with_field(form: Format, of: Half, made: Field) -> Format:
    """Return the format with one half replaced."""
    return replace(form, x=made) if of == "x" else replace(form, y=made)
