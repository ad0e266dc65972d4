"""Estimate of the memory that training a model takes, printed when the model is pushed."""

from fedbus.jobs.eligibility import training_memory_bytes
from fedbus.model.layout import Layout
from fedbus.training.params import TrainingParams
from fedbus.wire.documents import ModelSpec

_MIB = 2**20


def format_memory_needed(spec: ModelSpec) -> str:
    """Format the free memory that training needs on an agent, with plain SGD and with Adam."""
    if not spec.layout:
        return "it only runs: inference answers with it, and agents cannot train it"
    size, only_tflite = Layout.read(spec.layout).size, spec.architectures.keys() == {"tflite"}
    plain, adam = (
        max(1, -(-training_memory_bytes(size, params, only_tflite=only_tflite) // _MIB))
        for params in (TrainingParams(optimizer="sgd"), TrainingParams(optimizer="adam"))
    )
    return (
        f"training needs about {plain} MiB of an agent's memory ({adam} MiB with Adam), plus "
        "the framework and one batch of rows"
    )
