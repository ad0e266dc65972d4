"""What a model will take of an agent's memory is told at the push."""

import pytest

from fedbus.cli.memory_needed import sentence_of
from fedbus.wire.states import ModelCard, TensorSpec


def card(numbers: int, *structures: str, dtype: str = "float32") -> ModelCard:
    """Write the card of a model of one tensor."""
    layout = (TensorSpec(name="w", shape=(numbers,), dtype=dtype),)
    return ModelCard(model="m", layout=layout, structures={key: {} for key in structures})


@pytest.mark.parametrize(
    ("said", "plain", "adam"),
    [
        (card(2**22, "torch"), 80, 112),
        (card(2**22, "tflite", "torch"), 80, 112),
        (card(2**22, "tflite"), 176, 208),
        (card(2**22, "torch", dtype="float64"), 160, 224),
        (card(10, "torch"), 1, 1),
    ],
    ids=["torch", "both", "tflite alone", "float64", "tiny"],
)
def test_it_is_reckoned_as_agents_reckon(said: ModelCard, plain: int, adam: int) -> None:
    """An agent with less declines, so whoever pushes knows which boards can take part."""
    assert sentence_of(said).startswith(
        f"training it takes about {plain} MiB of an agent's memory ({adam} MiB with Adam)"
    )
