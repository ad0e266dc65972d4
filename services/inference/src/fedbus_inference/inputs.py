"""Inputs of one request: every input of a model by name, parsed or given as arrays. Pure.

A request has one array for a model with one input, or a map of arrays by their names:
`{"image": …, "age": …}`. Each array is nested lists or raw (`fedbus_inference.arrays`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from fedbus.errors import WireError
from fedbus.model.layout import Array
from fedbus.text import listed
from fedbus_inference.array_checks import outside_range
from fedbus_inference.arrays import check_array, parse_array
from fedbus_inference.input_spec import InputSpec
from fedbus_inference.served_version import NamedArrays

_RAW_KEYS: Final = frozenset({"dtype", "shape", "data"})
_Given = TypeVar("_Given")


@dataclass(frozen=True, slots=True)
class Inputs:
    """Checked inputs of one request.

    Attributes:
        arrays: Every input of the model, of shape (rows, …) and with the dtype of its spec.
        warnings: What the caller should know: a number outside the range of the training data.
    """

    arrays: NamedArrays
    warnings: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Return the number of examples."""
        return len(next(iter(self.arrays.values())))

    @property
    def elements(self) -> int:
        """Return the count of numbers in all arrays."""
        return sum(array.size for array in self.arrays.values())


def expected_inputs(specs: Mapping[str, InputSpec]) -> str:
    """Format what a request must contain, for messages."""
    if len(specs) == 1:
        return next(iter(specs.values())).expected
    return "a map of " + "; ".join(f"{name}: {spec.expected}" for name, spec in specs.items())


def is_raw(value: object) -> bool:
    """Return whether a request's `inputs` has a raw array, so that the answer is raw as well."""
    if not isinstance(value, dict):
        return False
    return _is_raw_array(value) or any(map(_is_raw_array, value.values()))


def parse_inputs(value: object, specs: Mapping[str, InputSpec], max_elements: int) -> Inputs:
    """Parse a request's `inputs`, one example or a batch, of at most `max_elements` numbers.

    Raises:
        WireError: Names the input and the element, what was expected and what was found.
    """
    if isinstance(value, dict) and not _is_raw_array(value) and not _looks_raw(value, specs):
        return _check_each(value, specs, max_elements, parse_array)
    if len(specs) > 1:
        raise WireError(f"inputs: expected a map with one array for each of {_takes(specs)}")
    ((name, spec),) = specs.items()
    return _checked({name: parse_array(value, spec, max_elements)}, specs)


def check_inputs(arrays: NamedArrays, specs: Mapping[str, InputSpec], max_elements: int) -> Inputs:
    """Check arrays that a request of another protocol had, and give them the dtypes of the specs.

    One array alone may have any name.

    Raises:
        WireError: As `parse_inputs` does.
    """
    if len(arrays) == len(specs) == 1:
        arrays = dict(zip(specs, arrays.values(), strict=True))
    return _check_each(arrays, specs, max_elements, check_array)


def _check_each(
    given: Mapping[str, _Given],
    specs: Mapping[str, InputSpec],
    max_elements: int,
    check: Callable[[_Given, InputSpec, int, str], Array],
) -> Inputs:
    if unknown := [name for name in given if name not in specs]:
        name = str(unknown[0])[:64]
        raise WireError(f"inputs: no input {name!r}; this model takes {_takes(specs)}")
    if missing := [name for name in specs if name not in given]:
        raise WireError(f"inputs: {missing[0]!r} is missing; this model takes {_takes(specs)}")
    found: dict[str, Array] = {}
    left = max_elements
    for name, spec in specs.items():
        where = "inputs" if len(specs) == 1 else f"inputs.{name}"
        found[name] = check(given[name], spec, left, where)
        left -= found[name].size
    return _checked(found, specs)


def _checked(arrays: dict[str, Array], specs: Mapping[str, InputSpec]) -> Inputs:
    rows = {name: len(array) for name, array in arrays.items()}
    if len({*rows.values()}) > 1:
        raise WireError(
            "inputs: expected as many examples in each input, got "
            + ", ".join(f"{count} in {name}" for name, count in rows.items())
        )
    count = len(specs)
    warnings = (_range_warning(name, arrays[name], spec, count) for name, spec in specs.items())
    return Inputs(arrays, tuple(filter(None, warnings)))


def _range_warning(name: str, array: Array, spec: InputSpec, count: int) -> str:
    if spec.range is None or not spec.warns:
        return ""
    low, high = spec.range
    outside = outside_range(array, low, high, "inputs" if count == 1 else f"inputs.{name}")
    return outside and (
        f"{outside}; in training all were from {low:g} to {high:g}, so the answer may be wrong"
    )


def _is_raw_array(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("data"), bytes)


def _looks_raw(value: dict[Any, Any], specs: Mapping[str, InputSpec]) -> bool:
    """Return whether a map is meant as a raw array, so that its error names one."""
    return "dtype" in value and value.keys() <= _RAW_KEYS and not value.keys() & specs.keys()


def _takes(specs: Mapping[str, InputSpec]) -> str:
    return listed(map(repr, specs))
