"""Scalar types with bounds, read by pydantic and defined without it."""

import subprocess
import sys
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from fedbus.scalars import Bounds, Flag, Ident, Number, Strict, Whole


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Whole, "1"),
        (Whole, 1.0),
        (Whole, True),
        (Whole, -1),
        (Whole, 2**53),
        (Flag, 1),
        (Number, "0.5"),
        (Number, float("nan")),
        (Number, float("inf")),
        (Ident, "a b"),
        (Annotated[tuple[Whole, ...], Bounds(max_length=1)], [1, 2]),
        (Annotated[float, Strict(gt=0, le=1)], 0.0),
    ],
)
def test_a_scalar_is_neither_converted_nor_out_of_bounds(
    kind: Any,  # noqa: ANN401 - a type form, which no annotation names
    value: object,
) -> None:
    """The codec is the only place where a value is checked; what passes it is trusted."""
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)


def test_a_container_stays_lax_while_its_entries_are_strict() -> None:
    """Msgpack has lists only, and a message tuples."""
    pair = TypeAdapter(Annotated[tuple[Whole, ...], Bounds(max_length=2)])
    assert pair.validate_python([1, 2]) == (1, 2)


def test_training_parameters_load_no_pydantic() -> None:
    """Training with TFLite on a small device has no 8 MB for it."""
    script = "import sys, fedbus.training.params; print('pydantic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
