"""What is left of somebody's own model when it is made ready for agents: data, no code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fedbus.errors import FedbusError
from fedbus.frameworks.outputs import derive_answers
from fedbus.model.layout import Role, Weights
from fedbus.plugins import Predicts
from fedbus.training.params import Architecture
from fedbus.wire.output_kinds import OutputKind

_ROWS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFacts:
    """What a model itself shows: what it answers, None if that cannot be told, and in what shape.

    `output` is the shape for one row; () is unknown, or several outputs, which `several` names.
    """

    answers: OutputKind | None = None
    output: tuple[int, ...] = ()
    several: tuple[str, ...] = ()


UNKNOWN_OUTPUT = OutputFacts()


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """The parts of a model's spec.

    Attributes:
        architectures: By the trainer's name. A `"blob"` in one is the name of one of `files`.
        weights: Its first weights, in the layout's order.
        files: What architectures need beside, by name.
        input: The shape of one row it takes; None if the model does not say.
        roles: Of tensors that are no plain weights, by name.
        seen: What it answers, as far as it shows.
        least_batch: How many rows a batch needs that it is trained on.
    """

    architectures: Mapping[str, Architecture]
    weights: Weights
    files: Mapping[str, bytes] = field(default_factory=dict)
    input: tuple[int, ...] | None = None
    roles: Mapping[str, Role] = field(default_factory=dict)
    seen: OutputFacts = UNKNOWN_OUTPUT
    least_batch: int = 1


def probe_output(trainer: object, row: Sequence[int] | None) -> OutputFacts:
    """Have a trainer answer rows of zeros, and look at what comes and at what it says of itself."""
    if row is None or not isinstance(trainer, Predicts):
        return UNKNOWN_OUTPUT
    try:
        found = trainer.predict(np.zeros((_ROWS, *row), np.float32))
    except FedbusError:
        return UNKNOWN_OUTPUT  # it takes other rows; whoever trains it will say so
    if isinstance(found, Mapping):
        return OutputFacts(several=tuple(found))
    output = np.asarray(found).shape[1:]
    activation = getattr(trainer, "output_activation", None)
    if activation is None:
        return OutputFacts(output=output)
    loss = getattr(trainer, "declared_loss", None)
    return OutputFacts(answers=derive_answers(activation, output, row, loss), output=output)
