"""Arrays in requests and answers: measured, then made. Pure.

An array comes as nested lists of numbers, or raw: `{"dtype", "shape", "data"}`, little-endian bytes
in row order. Depth, shape, type and size are checked before an array is made of it, and every
refusal is one sentence that says what was found where, and what belongs there.
"""

import math
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, cast

import numpy as np

from fedbus.data.model_input import read_input
from fedbus.errors import WireError
from fedbus.limits import MAX_DIMENSIONS
from fedbus.model.layout import DTYPES, Array
from fedbus.rounding import format_against
from fedbus.text import listed

_MOST_NORMALIZED: Final = 1 + 1e-6
"""As agents judge their rows; see `fedbus.data.format.check_batch`."""
_PICTURE: Final = 3
_NUMBERS: Final = frozenset({int, float})
_SPOKEN: Final[dict[type, str]] = {
    str: "a string",
    bool: "true or false",
    type(None): "null",
    dict: "a map",
    list: "a list",
    bytes: "raw bytes",
    int: "a number",
    float: "a number",
}


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What one example looks like; `shape` None: the spec does not say.

    `normalized`: all of its numbers lie between -1 and 1, as in the data that the model was trained
    on.
    """

    shape: tuple[int, ...] | None
    dtype: str = "float32"
    normalized: bool = False

    @property
    def wanted(self) -> str:
        """Say it in a sentence."""
        if self.shape is None:
            return "a list of examples"
        one = list(self.shape)
        batch = ", ".join(["n", *map(str, one)])
        range_ = ", normalized to -1 to 1" if self.normalized else ""
        return f"{one} ({self.dtype}{range_}), or [{batch}] for n examples"


def input_spec_of(stated: dict[str, Any], most: int) -> InputSpec:
    """Return what a model's spec says of one example; without a shape any goes in.

    Raises:
        WireError: see `read_input`, or one example has more than `most` numbers.
    """
    found = read_input(stated)
    if found.row is None:
        return InputSpec(None, found.dtype, found.normalized)
    _check_count(math.prod(found.row.size), most)
    return InputSpec(found.row.size, found.dtype, found.normalized)


def read(value: object, input_spec: InputSpec, most: int) -> Array:
    """Read a request's `inputs`, one example or a batch, as (examples, …) of the model's dtype.

    Args:
        value: What JSON or msgpack held.
        input_spec: What one example must look like.
        most: The most numbers to make an array of.

    Raises:
        WireError: the sentence says what is wrong, where, and what is wanted.
    """
    match value:
        case list():
            taken = _NUMBERS | {bool} if input_spec.dtype == "bool" else _NUMBERS
            shape, numbers = _measured(value, most, taken)
            array = _made(numbers, shape, input_spec.dtype)
        case {"dtype": dtype, "shape": shape, "data": bytes(data)}:
            array = _cast(_raw(dtype, shape, data, most), input_spec.dtype)
        case _:
            raise WireError(
                f"inputs is {_spoken(value)}; send nested lists of numbers, or in msgpack "
                '{"dtype", "shape", "data"} with little-endian bytes'
            )
    if input_spec.normalized:
        _check_normalized(array)
    return _batch(array, input_spec)


def nested(array: Array) -> list[Any]:
    """Write an array as nested lists of numbers."""
    return cast("list[Any]", array.tolist())


def raw(array: Array) -> dict[str, Any]:
    """Write an array raw."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": little.tobytes()}


# ── nested lists ─────────────────────────────────────────────────────────────────────────────────


def _measured(
    value: list[Any], most: int, taken: frozenset[type]
) -> tuple[tuple[int, ...], list[Any]]:
    """Open one level of lists after the other; returns the shape and the numbers in a row."""
    shape, level = [len(value)], value
    while level and type(level[0]) is list:
        if len(shape) == MAX_DIMENSIONS:
            raise WireError(f"inputs is nested deeper than {MAX_DIMENSIONS} lists")
        _check_level(level, shape)
        shape.append(len(level[0]))
        _check_count(math.prod(shape), most)
        level = list(chain.from_iterable(level))
    _check_count(len(level), most)
    if not level:
        raise WireError(f"inputs of shape {shape} hold no number")
    if not taken.issuperset(map(type, level)):
        at = next(i for i, leaf in enumerate(level) if type(leaf) not in taken)
        raise WireError(f"{_place(at, shape)} is {_spoken(level[at])} where a number belongs")
    return tuple(shape), level


def _check_level(level: list[Any], shape: list[int]) -> None:
    if any(type(row) is not list for row in level):
        at = next(i for i, row in enumerate(level) if type(row) is not list)
        raise WireError(f"{_place(at, shape)} is {_spoken(level[at])} where a list belongs")
    width = len(level[0])
    if any(len(row) != width for row in level):
        at = next(i for i, row in enumerate(level) if len(row) != width)
        raise WireError(
            f"{_place(at, shape)} has {len(level[at])} elements, "
            f"{_place(0, shape)} has {width}: all rows are of one length"
        )


def _made(numbers: list[Any], shape: tuple[int, ...], dtype: str) -> Array:
    if np.dtype(dtype).kind == "f":
        try:
            with np.errstate(over="ignore"):  # found below, and named
                array = np.array(numbers, dtype)
        except OverflowError as error:
            raise WireError(f"inputs hold a whole number too large for {dtype}") from error
        return _finite(array.reshape(shape))
    whole = [_whole(number, at, shape, dtype) for at, number in enumerate(numbers)]
    _check_range(min(whole), max(whole), dtype)
    return np.array(whole, dtype).reshape(shape)


def _whole(number: Any, at: int, shape: tuple[int, ...], dtype: str) -> int:  # noqa: ANN401 - a number
    if type(number) is float and not number.is_integer():  # infinity and NaN are none either
        raise WireError(f"{_place(at, shape)} is {number}; whole numbers ({dtype}) go in")
    return int(number)


# ── raw ──────────────────────────────────────────────────────────────────────────────────────────


def _raw(dtype: object, stated: object, data: bytes, most: int) -> Array:
    kind = np.dtype(_dtype("inputs.dtype", dtype)).newbyteorder("<")
    shape = _dimensions("inputs.shape", stated)
    count = math.prod(shape)
    _check_count(count, most)
    if len(data) != count * kind.itemsize:
        raise WireError(
            f"inputs.data is {len(data)} bytes long; "
            f"{kind.name} of shape {list(shape)} takes {count * kind.itemsize}"
        )
    return np.frombuffer(data, kind).reshape(shape)


def _cast(array: Array, dtype: str) -> Array:
    wanted = np.dtype(dtype)
    if wanted.kind == "f":
        with np.errstate(over="ignore"):  # found below, and named
            return _finite(array.astype(wanted, copy=False))
    if array.dtype.kind == "f":
        broken = ~np.isfinite(array) | (array != np.trunc(array))
        if broken.any():
            at = int(broken.argmax())
            found = f"{_place(at, array.shape)} is {array.flat[at]}"
            raise WireError(f"{found}; whole numbers ({dtype}) go in")
    _check_range(int(array.min()), int(array.max()), dtype)
    return array.astype(wanted, copy=False)


# ── both ─────────────────────────────────────────────────────────────────────────────────────────


def _batch(array: Array, input_spec: InputSpec) -> Array:
    if input_spec.shape is None:
        if array.ndim:
            return array
    elif array.shape == input_spec.shape:
        return array[np.newaxis]
    elif array.ndim and array.shape[1:] == input_spec.shape:
        return array
    hint = _reshaped(array.shape, input_spec.shape or ())
    raise WireError(
        f"inputs of shape {list(array.shape)}; this model takes {input_spec.wanted}{hint}"
    )


def _reshaped(found: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """Name the change that gives rows the wanted shape, where there is one; else nothing."""
    for row, before in ((found, []), (found[1:], ["n"])):
        if not wanted or not row or math.prod(row) != math.prod(wanted):
            continue
        if len(row) == len(wanted) == _PICTURE:
            if row[1:] + row[:1] == wanted:
                return "; these have their channels first, this model wants them last: transpose"
            if row[-1:] + row[:-1] == wanted:
                return "; these have their channels last, this model wants them first: transpose"
        return f"; reshape them to [{', '.join([*before, *map(str, wanted)])}]"
    return ""


def _dtype(where: str, stated: object) -> str:
    if not isinstance(stated, str) or stated not in DTYPES:
        raise WireError(f"{where} is {_shown(stated)}; it is one of {listed(DTYPES)}")
    return stated


def _dimensions(where: str, stated: object) -> tuple[int, ...]:
    if not isinstance(stated, list | tuple) or len(stated) > MAX_DIMENSIONS:
        raise WireError(
            f"{where} is {_shown(stated)}; it is a list of at most {MAX_DIMENSIONS} numbers"
        )
    if not all(type(length) is int and length > 0 for length in stated):
        raise WireError(f"{where} is {_shown(stated)}; every dimension is a whole number above 0")
    return tuple(stated)


def _finite(array: Array) -> Array:
    finite = np.isfinite(array)
    if not finite.all():
        place = _place(int(finite.argmin()), array.shape)
        raise WireError(f"{place} is not a finite number that fits in {array.dtype.name}")
    return array


def _check_range(low: int, high: int, dtype: str) -> None:
    least, most = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if low < least or high > most:
        raise WireError(f"inputs hold numbers beyond {dtype}, which is {least} to {most}")


def _check_normalized(array: Array) -> None:
    beyond = (array > _MOST_NORMALIZED) | (array < -_MOST_NORMALIZED)
    if beyond.any():
        at = int(beyond.argmax())
        value = float(array.flat[at])
        told = format_against(value, 1 if value > 0 else -1)
        raise WireError(
            f"{_place(at, array.shape)} is {told}; this model takes numbers from -1 to 1, as in "
            "training: scale the inputs as the agents' data are (the bytes of a picture are "
            "divided by 255, say)"
        )


def _check_count(count: int, most: int) -> None:
    if count > most:
        raise WireError(f"inputs hold {count} numbers, at most {most}; send fewer examples at once")


def _place(at: int, shape: "list[int] | tuple[int, ...]") -> str:
    """Name an element by its flat index: `inputs[0][3]`."""
    return "inputs" + "".join(f"[{int(i)}]" for i in np.unravel_index(at, tuple(shape)))


def _spoken(value: object) -> str:
    return _SPOKEN.get(type(value), "something else")


def _shown(value: object) -> str:
    return repr(value)[:60]
