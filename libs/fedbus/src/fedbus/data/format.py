"""What a row looks like, as aerOS writes it: announced by agents, changed by transforms, verified.

    {"x": {"data_types": {"image": {"size": [28, 28, 1], "normalized": true, "dtype": "float32"}}},
     "y": {"data_types": {"categorical": {"size": [1], "normalized": false, "dtype": "int64"}}}}

`dtype` is ours; a format without it says nothing about it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np

from fedbus.data.dataset import Batch, Dataset
from fedbus.errors import TrainingError
from fedbus.layout import Array, listed

Kind = Literal["image", "numerical", "categorical"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
DTYPES: Final = frozenset(
    {"bool", "float16", "float32", "float64"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)
MAX_DIMENSIONS: Final = 8
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
    """

    kind: Kind
    size: tuple[int, ...]
    dtype: str = ""
    normalized: bool = False

    def plain(self) -> dict[str, Any]:
        """Write it as aerOS does."""
        said = {"size": list(self.size) or [1], "normalized": self.normalized}
        return {"data_types": {self.kind: {**said, "dtype": self.dtype} if self.dtype else said}}

    @property
    def bytes(self) -> int:
        """What it takes in memory; numbers of a dtype that nobody knows are taken for 4 bytes."""
        return math.prod(self.size) * (np.dtype(self.dtype).itemsize if self.dtype else _NUMBER)

    def __str__(self) -> str:
        """Say it in few words: `image 28 x 28 x 1 float32`."""
        words = [self.kind, " x ".join(map(str, self.size or (1,))), self.dtype]
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

    Images are (rows, height, width, channels). Everything else is numerical.

    Raises:
        TrainingError: there is no batch.
    """
    first = next(data.peek(), None)
    if first is None:
        raise TrainingError("a data set without a single row")
    x, y = first
    return Format(
        x=_seen("image" if x.ndim == _IMAGES else "numerical", x),
        y=_seen("categorical" if y.dtype.kind in "iu" else "numerical", y),
    )


def _seen(kind: Kind, rows: Array) -> Field:
    floats = rows.dtype.kind == "f"
    normalized = bool(floats and rows.size and np.abs(rows).max() <= 1)
    return Field(kind=kind, size=rows.shape[1:], dtype=str(rows.dtype), normalized=normalized)


def read_format(plain: object) -> Format:
    """Read what an owner, or an aerOS `format.json`, says of a data set.

    Raises:
        TrainingError: it is not written as above; the sentence says where.
    """
    match plain:
        case {"x": x, "y": y}:
            return Format(x=read_field("x", x), y=read_field("y", y))
        case _:
            raise TrainingError('a format is an object with "x" and "y"')


def read_field(name: str, plain: object) -> Field:
    """Read one of its two halves; `name` is what errors call it.

    Raises:
        TrainingError: it is not `{"data_types": {KIND: {"size": […], …}}}`.
    """
    match plain:
        case {"data_types": {"image": Mapping() as said, **rest}} if not rest:
            return _field(name, "image", said)
        case {"data_types": {"numerical": Mapping() as said, **rest}} if not rest:
            return _field(name, "numerical", said)
        case {"data_types": {"categorical": Mapping() as said, **rest}} if not rest:
            return _field(name, "categorical", said)
        case _:
            kinds = listed(KINDS)
            raise TrainingError(f"{name}: data_types with one of {kinds} belongs there")


def _field(name: str, kind: Kind, said: Mapping[str, Any]) -> Field:
    size, dtype = said.get("size"), said.get("dtype", "")
    whole = isinstance(size, list) and all(type(n) is int and n > 0 for n in size)
    if not whole or not isinstance(size, list) or len(size) > MAX_DIMENSIONS:
        raise TrainingError(
            f"{name}.{kind}.size is {size!r}; at most {MAX_DIMENSIONS} whole numbers above 0 "
            "belong there"
        )
    if dtype not in DTYPES | {""}:
        raise TrainingError(f"{name}.{kind}.dtype is {dtype!r}; it can be {listed(DTYPES)}")
    normalized = said.get("normalized", False)
    if not isinstance(normalized, bool):
        raise TrainingError(f"{name}.{kind}.normalized is {normalized!r}, neither true nor false")
    return Field(kind=kind, size=tuple(size), dtype=dtype, normalized=normalized)


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
        told.append(f"a row is {sizes[0]}, not {sizes[1]}")
    if want.dtype and have.dtype and have.dtype != want.dtype:
        told.append(f"it is {have.dtype}, not {want.dtype}")
    if want.normalized and not have.normalized:
        told.append("its numbers go beyond -1 to 1 (a normalize step may be missing)")
    return told


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
            raise TrainingError(f"{name} holds {most:.4g}, declared as normalized (-1 to 1)")
