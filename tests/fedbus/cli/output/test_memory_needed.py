"""Memory that training a model takes, printed when it is pushed."""

import pytest

from fedbus.cli.output.memory_needed import format_memory_needed
from fedbus.wire.documents import ModelSpec, TensorSpec


def spec(numbers: int, *architectures: str, dtype: str = "float32") -> ModelSpec:
    """Write the spec of a model of one tensor."""
    layout = (TensorSpec(name="w", shape=(numbers,), dtype=dtype),)
    return ModelSpec(model="m", layout=layout, architectures={key: {} for key in architectures})


@pytest.mark.parametrize(
    ("said", "plain", "adam"),
    [
        (spec(2**22, "torch"), 80, 112),
        (spec(2**22, "tflite", "torch"), 80, 112),
        (spec(2**22, "tflite"), 176, 208),
        (spec(2**22, "torch", dtype="float64"), 160, 224),
        (spec(10, "torch"), 1, 1),
    ],
    ids=["torch", "both", "tflite alone", "float64", "tiny"],
)
def test_memory_is_estimated_as_agents_do(said: ModelSpec, plain: int, adam: int) -> None:
    """An agent with less declines, so the user knows which boards can take part."""
    assert format_memory_needed(said).startswith(
        f"training needs about {plain} MiB of an agent's memory ({adam} MiB with Adam)"
    )
