"""Format of rows in aerOS's notation: announced by agents, changed by transforms, checked.

    {"x": {"data_types": {"image": {"size": [28, 28, 1], "normalized": true, "dtype": "float32"}}},
     "y": {"data_types": {"categorical": {"size": [1], "normalized": false, "dtype": "int64"}}}}

`dtype` is an addition of fedbus, as are `axes` of images, `classes` (names in the order of their
numbers) and `columns` (names of the inputs). A format without one of these states nothing about it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

import numpy as np

from fedbus.data.dataset import Batch, Dataset
from fedbus.errors import TrainingError
from fedbus.model.layout import Array
from fedbus.number_text import format_against
from fedbus.wire.announced_names import encode_names, names_of

Kind = Literal["image", "numerical", "categorical"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
DTYPES: Final = frozenset(
    {"bool", "float16", "float32", "float64"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)
Axes = Literal["", "channels-last", "channels-first"]
AXES: Final[tuple[Axes, ...]] = get_args(Axes)
_AXES_SHOWN: Final[dict[Axes, str]] = {
    "channels-last": "(height, width, channels)",
    "channels-first": "(channels, height, width)",
}
CHANNELS: Final = (1, 3, 4)
"""Grey, colour, colour with transparency: the lengths that distinguish channels from sides."""
_IMAGES = 4
_NUMBER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Format of x or of y in one row.

    Attributes:
        kind: Image, numerical or categorical.
        size: Shape; () is one number, which aerOS writes as [1].
        dtype: Name of the numpy dtype; "": not stated.
        normalized: Whether all numbers are between -1 and 1.
        axes: Position of an image's channels; "": not stated.
        classes: Names of classes, in the order of their numbers; empty: no names.
        columns: Names of inputs, in order; empty: no names.
    """

    kind: Kind
    size: tuple[int, ...]
    dtype: str = ""
    normalized: bool = False
    axes: Axes = ""
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Return the format in aerOS's notation."""
        plain: dict[str, Any] = {"size": list(self.size) or [1], "normalized": self.normalized}
        if self.dtype:
            plain["dtype"] = self.dtype
        if self.axes:
            plain["axes"] = self.axes
        for key, names in (("classes", self.classes), ("columns", self.columns)):
            if names:
                plain[key] = encode_names(names)
        return {"data_types": {self.kind: plain}}

    @property
    def bytes(self) -> int:
        """Size in memory; numbers of an unknown dtype count as 4 bytes."""
        return math.prod(self.size) * (np.dtype(self.dtype).itemsize if self.dtype else _NUMBER)

    def __str__(self) -> str:
        """Return a short form: `image 28 x 28 x 1 (height, width, channels) float32`."""
        axes = _AXES_SHOWN.get(self.axes, "")
        words = [self.kind, " x ".join(map(str, self.size or (1,))), axes, self.dtype]
        return " ".join(filter(None, words))


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """Format of one row of a data set."""

    x: Field
    y: Field

    @property
    def bytes(self) -> int:
        """Size of a row in memory."""
        return self.x.bytes + self.y.bytes

    def plain(self) -> dict[str, Any]:
        """Return the format in aerOS's notation."""
        return {"x": self.x.plain(), "y": self.y.plain()}


def format_of(data: Dataset) -> Format:
    """Return the format of the first batch: 4 dimensions are images, integers in y categories.

    Images are (rows, height, width, channels), unless only the first side can be channels.
    Everything else is numerical.

    Raises:
        TrainingError: there are no rows.
    """
    first = next(data.peek(), None)
    if first is None:
        raise TrainingError("the data set has no rows")
    x, y = first
    seen = _seen("image" if x.ndim == _IMAGES else "numerical", x)
    targets = _seen("categorical" if y.dtype.kind in "iu" else "numerical", y)
    return Format(
        x=replace(seen, axes=axes_of(seen), columns=data.info.columns),
        y=replace(targets, classes=data.info.classes),
    )


def axes_of(field: Field) -> Axes:
    """Return the axes of an image, by the length of its sides; "" if it is not an image."""
    if field.kind != "image" or len(field.size) != _IMAGES - 1:
        return ""
    first = field.size[0] in CHANNELS and field.size[-1] not in CHANNELS
    return "channels-first" if first else "channels-last"


def _seen(kind: Kind, rows: Array) -> Field:
    floats = rows.dtype.kind == "f"
    normalized = bool(floats and rows.size and np.abs(rows).max() <= 1)
    return Field(kind=kind, size=rows.shape[1:], dtype=str(rows.dtype), normalized=normalized)


def differences(have: Field, want: Field) -> list[str]:
    """List the differences of a field to the wanted one; an empty list is a match.

    A wanted `normalized: false` or empty dtype accepts any. The sizes () and [1] are equal.
    """
    found = []
    if have.kind != want.kind:
        found.append(f"it is {have.kind}, not {want.kind}")
    if (have.size or (1,)) != (want.size or (1,)):
        sizes = [list(size) or [1] for size in (have.size, want.size)]
        found.append(f"a row is {sizes[0]}, not {sizes[1]}{turned(have.size, want.size)}")
    if want.dtype and have.dtype and have.dtype != want.dtype:
        found.append(f"it is {have.dtype}, not {want.dtype}")
    if want.normalized and not have.normalized:
        found.append("its numbers go beyond -1 to 1 (a normalize step may be missing)")
    for what, has, wants in (
        ("classes", have.classes, want.classes),
        ("columns", have.columns, want.columns),
    ):
        if has and wants and has != wants:
            found.append(f"its {what} are {names_of(has)}, not {names_of(wants)}")
    return found


def turned(have: Sequence[int], want: Sequence[int]) -> str:
    """Name the transform that moves channels to the wanted axis; "" if there is none."""
    if len(have) != _IMAGES - 1 or len(want) != len(have) or list(have) == list(want):
        return ""
    height, width, last = have
    if [last, height, width] == list(want):
        return ' (channels last, not first: the transform "channels-first" moves them)'
    if [width, last, height] == list(want):
        return ' (channels first, not last: the transform "channels-last" moves them)'
    return ""


def check_batch(batch: Batch, form: Format) -> None:
    """Reject a batch that differs from its declared format.

    Raises:
        TrainingError: another shape or dtype, x and y of different lengths, or numbers beyond 1
            where they were declared normalized.
    """
    x, y = batch
    if len(x) != len(y):
        raise TrainingError(f"{len(x)} rows of x and {len(y)} of y")
    for name, rows, field in (("x", x, form.x), ("y", y, form.y)):
        if rows.shape[1:] != field.size or (field.dtype and str(rows.dtype) != field.dtype):
            shape = ("rows", *rows.shape[1:])
            raise TrainingError(f"{name} is {rows.dtype} {shape}, declared as {field}")
        if field.normalized and rows.size and np.abs(rows).max() > 1 + 1e-6:
            most = float(np.abs(rows).max())
            raise TrainingError(
                f"{name} holds {format_against(most, 1)}, declared as normalized (-1 to 1)"
            )
