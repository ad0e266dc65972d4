"""Estimate of the memory that training a model takes, printed when the model is pushed."""

from fedbus.eligibility import training_memory_bytes
from fedbus.layout import Layout
from fedbus.training import TrainingParams
from fedbus.wire.states import ModelCard

_MIB = 2**20


def sentence_of(card: ModelCard) -> str:
    """Format what an agent must have free, with plain SGD and with Adam."""
    size, only_tflite = Layout.read(card.layout).size, card.structures.keys() == {"tflite"}
    plain, adam = (
        max(1, -(-training_memory_bytes(size, params, only_tflite=only_tflite) // _MIB))
        for params in (TrainingParams(optimizer="sgd"), TrainingParams(optimizer="adam"))
    )
    return (
        f"training it takes about {plain} MiB of an agent's memory ({adam} MiB with Adam), beside "
        "its framework and a batch of its rows"
    )
