"""Input of a model, as its spec states it: the one reader of a spec's `input`. Pure.

A spec states its rows as `{"shape": [64], "dtype": "float32"}` or in aerOS's notation,
`{"data_types": {"numerical": {"size": [64]}}}`, either of them at the top or under `x`. A model
with several inputs states each by its name: `{"inputs": {"image": {"shape": …}, "age": …}}`.
Beside them, `"range": [0, 16]` is that of the numbers in the training data, and `"out_of_range":
"warn"` has inference answer other numbers with a warning instead of a refusal.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fedbus.data.format import DTYPES, Field, Kind
from fedbus.data.format_reader import read_field
from fedbus.errors import TrainingError, WireError
from fedbus.limits import MAX_DIMENSIONS
from fedbus.text import listed

ONLY_INPUT: Final = "inputs"
"""Name of a model's input where its spec gives it none."""
MAX_INPUTS: Final = 64
OUT_OF_RANGE: Final = ("refuse", "warn")
"""What inference does with numbers outside the stated range; the first is the default."""
_IMAGE_DIMENSIONS = 3
_SHOWN_CHARACTERS = 60
_NAME: Final = r"[!-~]{1,128}"
"""Frameworks name inputs `serving_default_x:0`, `input.1` or `dense/kernel`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInput:
    """Input of a model as its spec states it.

    Attributes:
        row: Format of one row; None where the spec does not state it.
        dtype: The dtype of the arrays that the model takes, by numpy's name.
        normalized: Whether all numbers must lie between -1 and 1.
        range: Lowest and highest number; None where the spec does not state it.
        warns: Whether other numbers are answered with a warning, not refused.
    """

    row: Field | None = None
    dtype: str = "float32"
    normalized: bool = False
    range: tuple[float, float] | None = None
    warns: bool = False


def read_inputs(stated: Mapping[str, Any]) -> dict[str, ModelInput]:
    """Read a spec's `input` as the model's inputs by name, in their order.

    An input without a name is called `ONLY_INPUT`.

    Raises:
        WireError: names the key, what it holds, and what was expected.
    """
    if "inputs" not in stated:
        return {ONLY_INPUT: read_input(stated)}
    named = stated["inputs"]
    if not isinstance(named, Mapping) or not 0 < len(named) <= MAX_INPUTS:
        raise WireError(
            f"input.inputs is {_shown(named)}; expected an object of 1 to {MAX_INPUTS} inputs by "
            "name"
        )
    found: dict[str, ModelInput] = {}
    for name, each in named.items():
        if not isinstance(name, str) or not re.fullmatch(_NAME, name):
            raise WireError(
                f"input.inputs: the name {_shown(name)}; expected 1 to 128 printable characters "
                "without spaces"
            )
        if not isinstance(each, Mapping):
            raise WireError(f"input.inputs.{name} is {_shown(each)}; expected an object")
        try:
            found[name] = read_input(each)
        except WireError as error:
            raise WireError(f"input.inputs.{name}: {error}") from error
    return found


def has_several_inputs(stated: object) -> bool:
    """Return whether a spec's `input` names several inputs, even if it is not valid."""
    named = stated.get("inputs") if isinstance(stated, Mapping) else None
    return isinstance(named, Mapping) and len(named) > 1


def read_input(stated: Mapping[str, Any]) -> ModelInput:
    """Read the `input` of a spec with one input; what it leaves out is not checked.

    Raises:
        WireError: names the key, what it holds, and what was expected.
    """
    half = stated.get("x", stated)
    if not isinstance(half, Mapping):
        return ModelInput()
    dtype = _read_dtype(half.get("dtype", "float32"))
    normalized = half.get("normalized") is True
    row: Field | None = None
    if "data_types" in half:
        row = _read_field(half)
        normalized = normalized or row.normalized
    if "shape" in half:
        size = _read_shape(half["shape"])
        kind: Kind = "image" if len(size) == _IMAGE_DIMENSIONS else "numerical"
        row = Field(kind=kind, size=size, dtype=dtype if "dtype" in half else "")
    return ModelInput(
        row=row,
        dtype=dtype,
        normalized=normalized,
        range=_read_range(half["range"]) if "range" in half else None,
        warns=_read_out_of_range(half.get("out_of_range", OUT_OF_RANGE[0])) == "warn",
    )


def _read_field(half: Mapping[str, Any]) -> Field:
    try:
        return read_field("input", {"data_types": half["data_types"]})
    except TrainingError as error:
        raise WireError(str(error)) from error


def _read_shape(shape: object) -> tuple[int, ...]:
    whole = isinstance(shape, list) and all(type(n) is int and n > 0 for n in shape)
    if not isinstance(shape, list) or not whole or len(shape) > MAX_DIMENSIONS:
        raise WireError(
            f"input.shape is {_shown(shape)}; expected at most {MAX_DIMENSIONS} whole numbers "
            "above 0"
        )
    return tuple(shape)


def _read_range(stated: object) -> tuple[float, float]:
    match stated:
        case [int() | float() as low, int() | float() as high] if low < high:
            if math.isfinite(low) and math.isfinite(high):
                return float(low), float(high)
    raise WireError(
        f"input.range is {_shown(stated)}; expected the lowest and the highest number, as [0, 255]"
    )


def _read_out_of_range(stated: object) -> str:
    if stated not in OUT_OF_RANGE:
        raise WireError(
            f"input.out_of_range is {_shown(stated)}; expected {' or '.join(OUT_OF_RANGE)}"
        )
    return str(stated)


def _read_dtype(dtype: object) -> str:
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise WireError(f"input.dtype is {_shown(dtype)}; expected one of {listed(DTYPES)}")
    return dtype


def _shown(value: object) -> str:
    return repr(value)[:_SHOWN_CHARACTERS]
