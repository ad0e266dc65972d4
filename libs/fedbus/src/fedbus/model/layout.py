"""Layout of a model: names, shapes, dtypes and roles of its tensors, in order. Pure.

It belongs to the model, not to a framework: adapters convert, so that agents of different
frameworks train one model.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import InitVar, dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal, Protocol, cast, get_args

import msgpack
import numpy as np
from numpy.typing import NDArray

from fedbus.errors import LayoutError
from fedbus.limits import (
    MAX_BLOB_BYTES,
    MAX_DIMENSIONS,
    MAX_TENSOR_NAME_CHARACTERS,
    MAX_TENSORS,
)
from fedbus.text import listed

Array = NDArray[Any]
Weights = Mapping[str, Array]
Role = Literal["weight", "statistic", "local"]
"""`weight`: trained and averaged; `statistic`: averaged, not trained; `local`: never sent."""

DTYPES: Final = frozenset(
    {"bool", "float16", "float32", "float64"}
    | {"int8", "int16", "int32", "int64"}
    | {"uint8", "uint16", "uint32", "uint64"}
)
DIFFERENCES: Final[Mapping[str, str]] = {
    "bool": "int8",
    "int8": "int16", "uint8": "int16",
    "int16": "int32", "uint16": "int32",
    "int32": "int64", "uint32": "int64", "int64": "int64", "uint64": "int64",
}  # fmt: skip
"""Dtypes of differences of whole numbers: signed, and as wide as needed, at most 64 bits."""


class TensorLike(Protocol):
    """A tensor as described in a message, not validated yet; see `Layout.read`."""

    @property
    def name(self) -> str: ...  # noqa: D102 - see Tensor
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102 - see Tensor
    @property
    def dtype(self) -> str: ...  # noqa: D102 - see Tensor
    @property
    def role(self) -> str: ...  # noqa: D102 - see Tensor


@lru_cache(maxsize=64)
def dtype_name(dtype: "np.dtype[Any]") -> str:
    """Return the name of a dtype, which numpy itself composes at each call."""
    return dtype.name


@dataclass(frozen=True, slots=True)
class Tensor:
    """One named array of a model.

    Raises:
        LayoutError: The name, shape, dtype or role is not allowed.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: Role = "weight"

    def __post_init__(self) -> None:
        """Validate all fields."""
        what = f"tensor {self.name[:40]!r}"
        if not 1 <= len(self.name) <= MAX_TENSOR_NAME_CHARACTERS:
            raise LayoutError(f"{what}: a name has 1 to {MAX_TENSOR_NAME_CHARACTERS} characters")
        if self.dtype not in DTYPES:
            raise LayoutError(f"{what}: dtype {self.dtype[:40]!r} is none of {listed(DTYPES)}")
        if self.role not in get_args(Role):
            raise LayoutError(
                f"{what}: role {self.role[:40]!r} is none of {listed(get_args(Role))}"
            )
        if len(self.shape) > MAX_DIMENSIONS:
            raise LayoutError(f"{what}: {len(self.shape)} dimensions; at most {MAX_DIMENSIONS}")
        if not all(0 < length <= MAX_BLOB_BYTES for length in self.shape):
            raise LayoutError(
                f"{what}: shape {self.shape}; every dimension is 1 to {MAX_BLOB_BYTES}"
            )

    @property
    def numbers(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self.numbers * np.dtype(self.dtype).itemsize

    @property
    def difference(self) -> "Tensor":
        """The tensor of differences in a delta: the same shape, whole numbers in a wider dtype."""
        if self.dtype not in DIFFERENCES:
            return self
        return Tensor(self.name, self.shape, DIFFERENCES[self.dtype], self.role)

    def check(self, array: Array) -> None:
        """Raise LayoutError for another shape or dtype; byte order and strides may differ."""
        if array.shape != self.shape or array.dtype.name != self.dtype:
            raise LayoutError(
                f"tensor {self.name!r}: {array.dtype.name} {array.shape} where the layout has"
                f" {self.dtype} {self.shape}"
            )


@dataclass(frozen=True, slots=True)
class Layout:
    """The tensors of a model, in the order in which a blob holds them.

    Args:
        tensors: At least one, unless `may_be_empty`: a model that only runs has none.

    Raises:
        LayoutError: There is no tensor, are more than 4096, two of one name, more than 64 GiB in
            total, or only local ones.
    """

    tensors: tuple[Tensor, ...]
    may_be_empty: InitVar[bool] = field(default=False, kw_only=True)
    size: int = field(init=False, repr=False, compare=False)
    """Bytes of all tensors."""
    numbers: int = field(init=False, repr=False, compare=False)
    """Elements of all tensors."""
    shared: tuple[Tensor, ...] = field(init=False, repr=False, compare=False)
    """The tensors of a delta: differences of all tensors that are not local, in the same order."""
    digest: str = field(init=False, repr=False, compare=False)
    """SHA-256 (64 hex digits) of all names, shapes, dtypes and roles, as canonical msgpack."""

    def __post_init__(self, may_be_empty: bool) -> None:
        """Validate the tensors, and compute the derived fields."""
        if not (0 if may_be_empty else 1) <= len(self.tensors) <= MAX_TENSORS:
            raise LayoutError(f"a layout of {len(self.tensors)} tensors; 1 to {MAX_TENSORS}")
        for name, times in Counter(tensor.name for tensor in self.tensors).most_common(1):
            if times > 1:
                raise LayoutError(f"{times} tensors named {name!r}")
        size = sum(tensor.size for tensor in self.tensors)
        if size > MAX_BLOB_BYTES:
            raise LayoutError(f"a layout of {size} bytes; at most {MAX_BLOB_BYTES}")
        shared = tuple(tensor.difference for tensor in self.tensors if tensor.role != "local")
        if self.tensors and not shared:
            raise LayoutError("a layout of local tensors only: there is nothing to average")
        rows = [[t.name, list(t.shape), t.dtype, t.role] for t in self.tensors]
        # A frozen dataclass cannot assign its own fields either.
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "numbers", sum(tensor.numbers for tensor in self.tensors))
        object.__setattr__(self, "shared", shared)
        object.__setattr__(self, "digest", hashlib.sha256(msgpack.packb(rows)).hexdigest())

    @classmethod
    def of(cls, weights: Weights, roles: Mapping[str, Role] | None = None) -> "Layout":
        """Return the layout of arrays, sorted by name: all frameworks get the same digest."""
        return cls(
            tuple(
                Tensor(name, array.shape, array.dtype.name, (roles or {}).get(name, "weight"))
                for name, array in sorted(weights.items())
            )
        )

    @classmethod
    def read(cls, tensors: Iterable[TensorLike], *, may_be_empty: bool = False) -> "Layout":
        """Validate a layout from a message; that of a model that only runs may be empty."""
        return cls(
            tuple(Tensor(t.name, tuple(t.shape), t.dtype, cast("Role", t.role)) for t in tensors),
            may_be_empty=may_be_empty,
        )

    @property
    def all_float32(self) -> bool:
        """Whether a blob's whole data is one float32 array."""
        return all(tensor.dtype == "float32" for tensor in self.tensors)

    def check(self, weights: Weights) -> None:
        """Raise LayoutError unless the arrays are exactly these tensors, in any order."""
        check_arrays(weights, self.tensors)

    def name_at(self, index: int) -> str:
        """Return the tensor that has a flat index; raise LayoutError if there is none."""
        left = index
        for tensor in self.tensors:
            if left < tensor.numbers:
                return tensor.name
            left -= tensor.numbers
        raise LayoutError(f"number {index} is beyond the layout's {self.numbers}")


def check_arrays(weights: Weights, tensors: Iterable[Tensor]) -> None:
    """Raise LayoutError unless arrays are exactly these tensors, in any order."""
    by_name = {tensor.name: tensor for tensor in tensors}
    if missing := by_name.keys() - weights.keys():
        raise LayoutError(f"weights lack {listed(missing)}")
    if foreign := weights.keys() - by_name.keys():
        raise LayoutError(f"weights hold {listed(foreign)}, which the layout does not")
    for name, tensor in by_name.items():
        tensor.check(weights[name])
