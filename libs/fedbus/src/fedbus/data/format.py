"""What a row looks like, as aerOS writes it: announced by agents, changed by transforms, verified.

    {"x": {"data_types": {"image": {"size": [28, 28, 1], "normalized": true, "dtype": "float32"}}},
     "y": {"data_types": {"categorical": {"size": [1], "normalized": false, "dtype": "int64"}}}}

`dtype` is ours; a format without it says nothing about it. So are an image's `axes`, the names of
`classes` in the order of their numbers, and those of the inputs, `columns`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

import numpy as np

from fedbus.data.dataset import Batch, Dataset
from fedbus.errors import TrainingError
from fedbus.model.layout import Array
from fedbus.rounding import format_against
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
"""Grey, colour, colour with transparency: what tells an image's channels from its sides."""
_IMAGES = 4
_NUMBER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One row of inputs, or of truths.

    Attributes:
        kind: What it stands for.
        size: Its shape; () is one bare number, which aerOS writes as [1].
        dtype: Its numpy dtype by name; "" says nothing about it.
        normalized: Whether all numbers lie between -1 and 1.
        axes: Where an image has its channels; "" says nothing about it.
        classes: The names of classes, in the order of their numbers; none if they have no names.
        columns: The names of inputs, in their order; none if they have no names.
    """

    kind: Kind
    size: tuple[int, ...]
    dtype: str = ""
    normalized: bool = False
    axes: Axes = ""
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Write it as aerOS does."""
        said: dict[str, Any] = {"size": list(self.size) or [1], "normalized": self.normalized}
        if self.dtype:
            said["dtype"] = self.dtype
        if self.axes:
            said["axes"] = self.axes
        for key, names in (("classes", self.classes), ("columns", self.columns)):
            if names:
                said[key] = encode_names(names)
        return {"data_types": {self.kind: said}}

    @property
    def bytes(self) -> int:
        """What it takes in memory; numbers of a dtype that nobody knows are taken for 4 bytes."""
        return math.prod(self.size) * (np.dtype(self.dtype).itemsize if self.dtype else _NUMBER)

    def __str__(self) -> str:
        """Say it in few words: `image 28 x 28 x 1 (height, width, channels) float32`."""
        axes = _AXES_SHOWN.get(self.axes, "")
        words = [self.kind, " x ".join(map(str, self.size or (1,))), axes, self.dtype]
        return " ".join(filter(None, words))


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One row of a data set."""

    x: Field
    y: Field

    @property
    def bytes(self) -> int:
        """What a row takes in memory."""
        return self.x.bytes + self.y.bytes

    def plain(self) -> dict[str, Any]:
        """Write it as aerOS does."""
        return {"x": self.x.plain(), "y": self.y.plain()}


def format_of(data: Dataset) -> Format:
    """Look at the first batch: four dimensions are images, whole numbers in y are categories.

    Images are (rows, height, width, channels), unless only the first side can be channels.
    Everything else is numerical.

    Raises:
        TrainingError: there is no batch.
    """
    first = next(data.peek(), None)
    if first is None:
        raise TrainingError("a data set without a single row")
    x, y = first
    seen = _seen("image" if x.ndim == _IMAGES else "numerical", x)
    targets = _seen("categorical" if y.dtype.kind in "iu" else "numerical", y)
    return Format(
        x=replace(seen, axes=axes_of(seen), columns=data.info.columns),
        y=replace(targets, classes=data.info.classes),
    )


def axes_of(field: Field) -> Axes:
    """Tell where an image has its channels, by the length of its sides; "" for what is none."""
    if field.kind != "image" or len(field.size) != _IMAGES - 1:
        return ""
    first = field.size[0] in CHANNELS and field.size[-1] not in CHANNELS
    return "channels-first" if first else "channels-last"


def _seen(kind: Kind, rows: Array) -> Field:
    floats = rows.dtype.kind == "f"
    normalized = bool(floats and rows.size and np.abs(rows).max() <= 1)
    return Field(kind=kind, size=rows.shape[1:], dtype=str(rows.dtype), normalized=normalized)


def differences(have: Field, want: Field) -> list[str]:
    """Say in what a field is not what is wanted; an empty list is a fit.

    A wanted `normalized: false` promises nothing, and an empty dtype neither. A bare number and a
    size of [1] are the same.
    """
    told = []
    if have.kind != want.kind:
        told.append(f"it is {have.kind}, not {want.kind}")
    if (have.size or (1,)) != (want.size or (1,)):
        sizes = [list(size) or [1] for size in (have.size, want.size)]
        told.append(f"a row is {sizes[0]}, not {sizes[1]}{turned(have.size, want.size)}")
    if want.dtype and have.dtype and have.dtype != want.dtype:
        told.append(f"it is {have.dtype}, not {want.dtype}")
    if want.normalized and not have.normalized:
        told.append("its numbers go beyond -1 to 1 (a normalize step may be missing)")
    for what, has, wants in (
        ("classes", have.classes, want.classes),
        ("columns", have.columns, want.columns),
    ):
        if has and wants and has != wants:
            told.append(f"its {what} are {names_of(has)}, not {names_of(wants)}")
    return told


def turned(have: Sequence[int], want: Sequence[int]) -> str:
    """Name the transform that moves an image's channels where they are wanted; "" for no such."""
    if len(have) != _IMAGES - 1 or len(want) != len(have) or list(have) == list(want):
        return ""
    height, width, last = have
    if [last, height, width] == list(want):
        return ' (channels last, not first: the transform "channels-first" moves them)'
    if [width, last, height] == list(want):
        return ' (channels first, not last: the transform "channels-last" moves them)'
    return ""


def check_batch(batch: Batch, form: Format) -> None:
    """Refuse a batch that is not what was declared.

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
