"""Shape, dtype and range of a model's inputs. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fedbus.data.model_input import ModelInput, read_inputs
from fedbus.errors import WireError
from fedbus_inference.array_checks import check_count

_IMAGE_DIMENSIONS: Final = 3


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The input of one example.

    Attributes:
        shape: None where the model spec does not state it.
        normalized: All elements lie between -1 and 1, as in the training data.
        range: Lowest and highest element in the training data; None where it is not stated.
        warns: Elements outside the range are answered with a warning, not refused.
    """

    shape: tuple[int, ...] | None
    dtype: str = "float32"
    normalized: bool = False
    range: tuple[float, float] | None = None
    warns: bool = False

    @property
    def expected(self) -> str:
        """Format what a request must contain, for messages."""
        if self.shape is None:
            return "a list of examples"
        batch = ", ".join(["n", *map(str, self.shape)])
        range_ = ", normalized to -1 to 1" if self.normalized else ""
        if self.range is not None:
            range_ += f", from {self.range[0]:g} to {self.range[1]:g}"
        return f"{list(self.shape)} ({self.dtype}{range_}), or [{batch}] for n examples"

    def batch_shape(self, shape: tuple[int, ...], where: str = "inputs") -> tuple[int, ...]:
        """Return the shape (examples, …) of one example or a batch, or raise WireError."""
        if shape == self.shape:
            return (1, *shape)
        if shape and (self.shape is None or shape[1:] == self.shape):
            return shape
        hint = _reshape_hint(shape, self.shape or ())
        raise WireError(f"{where} of shape {list(shape)}; this model takes {self.expected}{hint}")


def read_input_specs(stated: Mapping[str, Any], max_elements: int) -> dict[str, InputSpec]:
    """Read a model spec's `input`: what one example consists of, by name.

    Without a shape, any shape is accepted. Raise WireError as `read_inputs` does, or if one example
    has more than `max_elements` elements.
    """
    found = {name: spec_of(each) for name, each in read_inputs(stated).items()}
    total = sum(math.prod(spec.shape or ()) for spec in found.values())
    check_count((total,), max_elements)
    return found


def spec_of(found: ModelInput) -> InputSpec:
    """Return the spec of an input that a model spec states.

    Where inference warns only, of normalized numbers too: -1 to 1 is then their range.
    """
    shape = None if found.row is None else found.row.size
    if found.normalized and found.warns:
        return InputSpec(shape, found.dtype, range=found.range or (-1.0, 1.0), warns=True)
    return InputSpec(shape, found.dtype, found.normalized, found.range, found.warns)


def _reshape_hint(found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """Format the change that gives rows the expected shape; empty if there is none."""
    for row, before in ((found, []), (found[1:], ["n"])):
        if not expected or not row or math.prod(row) != math.prod(expected):
            continue
        if len(row) == len(expected) == _IMAGE_DIMENSIONS:
            if row[1:] + row[:1] == expected:
                return "; the inputs have channels first, this model takes them last: transpose"
            if row[-1:] + row[:-1] == expected:
                return "; the inputs have channels last, this model takes them first: transpose"
        return f"; reshape them to [{', '.join([*before, *map(str, expected)])}]"
    return ""
