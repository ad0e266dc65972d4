"""x or y: which half of a row a transform is about."""

from dataclasses import replace
from typing import Literal

from fedbus.data.dataset import Batch
from fedbus.data.format import Field, Format
from fedbus.errors import TrainingError
from fedbus.model.layout import Array

Half = Literal["x", "y"]


def check_half(of: Half) -> Half:
    """Refuse anything but x and y.

    Raises:
        TrainingError: it is something else.
    """
    if of not in {"x", "y"}:
        raise TrainingError(f"of is {of!r}; x or y belongs there")
    return of


def rows(batch: Batch, of: Half) -> Array:
    """Take one half of a batch."""
    return batch[0] if of == "x" else batch[1]


def with_rows(batch: Batch, of: Half, made: Array) -> Batch:
    """Put other rows in its place."""
    return (made, batch[1]) if of == "x" else (batch[0], made)


def field(form: Format, of: Half) -> Field:
    """Take one half of a format."""
    return form.x if of == "x" else form.y


def with_field(form: Format, of: Half, made: Field) -> Format:
    """Put another declaration in its place."""
    return replace(form, x=made) if of == "x" else replace(form, y=made)
