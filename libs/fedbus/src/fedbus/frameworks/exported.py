"""A user's model exported for agents: architectures, weights and files, no code."""

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
    """What a model's outputs show: their meaning, and their shape.

    Attributes:
        answers: The meaning; None if it is unknown.
        output: The shape for one row; () if it is unknown, or there are several outputs.
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
        weights: The first weights, by the layout's names.
        files: Files that the architectures need, by name.
        input: The shape of one row of inputs; None if the model does not define it.
        roles: Roles of tensors other than `weight`, by name.
        seen: What its outputs show.
        least_batch: The smallest number of rows in a training batch.
    """

    architectures: Mapping[str, Architecture]
    weights: Weights
    files: Mapping[str, bytes] = field(default_factory=dict)
    input: tuple[int, ...] | None = None
    roles: Mapping[str, Role] = field(default_factory=dict)
    seen: OutputFacts = UNKNOWN_OUTPUT
    least_batch: int = 1


def probe_output(trainer: object, row: Sequence[int] | None) -> OutputFacts:
    """Predict on rows of zeros, and derive what the outputs mean and which shape they have."""
    if row is None or not isinstance(trainer, Predicts):
        return UNKNOWN_OUTPUT
    try:
        found = trainer.predict(np.zeros((_ROWS, *row), np.float32))
    except FedbusError:
        return UNKNOWN_OUTPUT  # it takes other rows; a training will report that
    if isinstance(found, Mapping):
        return OutputFacts(several=tuple(found))
    output = np.asarray(found).shape[1:]
    activation = getattr(trainer, "output_activation", None)
    if activation is None:
        return OutputFacts(output=output)
    loss = getattr(trainer, "declared_loss", None)
    return OutputFacts(answers=derive_answers(activation, output, row, loss), output=output)
