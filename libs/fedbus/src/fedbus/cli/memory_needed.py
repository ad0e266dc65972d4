"""How much of an agent's memory training a model takes, told to whoever pushes it."""

from fedbus.catalogue import at_most
from fedbus.layout import Layout
from fedbus.wire.fit import LITE, MEMORY_FACTOR
from fedbus.wire.states import ModelCard

_MIB = 2**20


def sentence_of(card: ModelCard) -> str:
    """Reckon as agents do before they take a task, with plain SGD and with Adam."""
    size = Layout.read(card.layout).size
    lite = card.structures.keys() == {"tflite"}
    factor = 1 + MEMORY_FACTOR + (LITE if lite else 0)
    plain, adam = (
        max(1, -(-size * (factor + at_most(optimizer, {}, handed_over=False)) // _MIB))
        for optimizer in ("sgd", "adam")
    )
    return (
        f"training it takes about {plain} MiB of an agent's memory ({adam} MiB with Adam), beside "
        "its framework and a batch of its rows"
    )
