"""The trainer API: training parameters, what an update holds, and figures. Pure.

`TrainingParams` is what a task carries on the wire and what a trainer is called with: one class,
which pydantic reads from a message (see `scalars.py`) and a trainer takes as it is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fedbus.errors import TrainingError
from fedbus.limits import MAX_METRICS, MAX_SCHEDULERS, MAX_TRANSFORMS
from fedbus.model.layout import Weights
from fedbus.scalars import (
    Bounds,
    Flag,
    Ident,
    Number,
    RoundNumber,
    Signed,
    Strict,
    Text,
    Whole,
    Word,
)

Metrics = Mapping[str, float]
"""Named figures: `loss`, `accuracy`, and whatever else a trainer measures."""

Architecture = Mapping[str, Any]
"""What the repository stores beside a model to rebuild it; each framework says what is in it.

It is the model spec's entry for that framework, in which `blob`, a blob_ref on the wire, has become
the bytes. It holds data, never code, and nothing in it is pickled.
"""

Argument = (
    Flag | Signed | Number | Word | Annotated[tuple[Signed | Number, ...], Bounds(max_length=256)]
)
"""The value of an argument of an optimizer, a scheduler or a transform."""

Arguments = Annotated[Mapping[Ident, Argument], Bounds(max_length=64)]
"""Arguments by name, as the job file spells them."""

CROSS_ENTROPY = frozenset(
    {"categorical_crossentropy", "sparse_categorical_crossentropy", "cross_entropy"}
)
"""What jobs call the softmax cross-entropy of class numbers."""


@dataclass(frozen=True, slots=True)
class SchedulerPart:
    """A scheduler or callback of which another one is made."""

    name: Word
    args: Arguments = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SchedulerParams(SchedulerPart):
    """How the learning rate changes; `parts` are the schedulers that this one is made of."""

    parts: Annotated[tuple[SchedulerPart, ...], Bounds(max_length=MAX_SCHEDULERS)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmupParams:
    """What stands in for the scheduler in a job's first `epochs`.

    Without a scheduler of its own the learning rate is multiplied, after x batches, by
    factor * (1 - x / iters) + x / iters, and by 1 from x = iters on.
    """

    epochs: Annotated[int, Strict(ge=1, le=100_000)]
    iters: Annotated[int, Strict(ge=1, le=100_000_000)] = 1
    factor: Annotated[float, Strict(gt=0, le=1000, allow_inf_nan=False)] = 1.0
    scheduler: SchedulerParams | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformParams:
    """A step between an agent's own pipeline and its trainer, as aerOS writes one."""

    id: Ident
    parameters: Arguments = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOverrides:
    """How a job wants an agent's data read: plug-ins by name, which the agent's owner must allow.

    `loader` None is the agent's own; `transforms` follow those of the agent's own pipeline.
    """

    loader: Ident | None = None
    transforms: Annotated[tuple[TransformParams, ...], Bounds(max_length=MAX_TRANSFORMS)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingParams:
    """How to train and what to measure, from the job file to the trainer.

    `epochs` passes over the data, each of at most `steps_per_epoch` batches of `batch_size` rows;
    `steps_per_epoch` None is every batch there is. Given the same seed, data and weights, a trainer
    on one machine returns the same update again. `round` is the job's, 1 for the first.

    `optimizer_args` are those the job gives, in its words, the learning rate apart; what it leaves
    out is the framework's own default. `mixed` precision is for devices that have it; others train
    in full. With `keep_optimizer_state` an agent continues with the optimizer and the scheduler of
    its previous task of this job: the trainer's `optimizer_state`, if it has that method, is read
    after training. `data_overrides` have been applied when a trainer is called; None keeps the
    agent's own pipeline.
    """

    batch_size: Annotated[int, Strict(ge=1, le=1_000_000)] = 32
    epochs: Annotated[int, Strict(ge=1, le=100_000)] = 1
    steps_per_epoch: Annotated[int, Strict(ge=1, le=100_000_000)] | None = None
    learning_rate: Annotated[float, Strict(gt=0, le=1000, allow_inf_nan=False)] = 0.01
    optimizer: Text = "sgd"
    optimizer_args: Arguments = field(default_factory=dict)
    scheduler: SchedulerParams | None = None
    warmup: WarmupParams | None = None
    precision: Literal["full", "mixed"] = "full"
    keep_optimizer_state: Flag = False
    loss: Text = "categorical_crossentropy"
    metrics: Annotated[tuple[Text, ...], Bounds(max_length=MAX_METRICS)] = ("accuracy",)
    data_overrides: DataOverrides | None = None
    round: RoundNumber = 1
    seed: Whole = 0

    def number(self, name: str, default: float) -> float:
        """Return an argument of the optimizer that is one number, or the default.

        Raises:
            TrainingError: it is something else.
        """
        value = self.optimizer_args.get(name, default)
        if not isinstance(value, int | float):
            raise TrainingError(f"{name} of {self.optimizer} is {value!r}, not a number")
        return value


@dataclass(frozen=True, slots=True)
class Update:
    """What training gave: the new weights (not the difference), rows behind them, figures."""

    weights: Weights
    examples: int
    metrics: Metrics


def single_output_hint(loss: str) -> str:
    """Say why a loss of classes cannot be taken of a model with one output."""
    return (
        f"the model has one output, of which {loss} is always 0: binary_crossentropy is the loss "
        "of yes or no, mean_squared_error that of a quantity"
    )


@dataclass(slots=True)
class RunningMetrics:
    """Loss and right answers, summed batch by batch."""

    loss: float = 0.0
    correct: float = 0.0
    examples: int = 0

    def add(self, *, loss: float, correct: float, examples: int) -> None:
        """Count one batch: its mean loss, its right answers, its rows."""
        self.loss += loss * examples
        self.correct += correct
        self.examples += examples

    def metrics(self) -> dict[str, float]:
        """Take the means over all rows.

        Raises:
            TrainingError: there was no row, or the loss is no finite number any more.
        """
        if not self.examples:
            raise TrainingError("a data set without a single row")
        loss = self.loss / self.examples
        if not math.isfinite(loss):
            raise TrainingError(f"the loss became {loss}; a lower learning_rate may help")
        return {"loss": loss, "accuracy": self.correct / self.examples}
