"""Trainer API: training parameters, and the update that a training returns. Pure.

`TrainingParams` is one class from the wire to the trainer: pydantic reads it from a task message
(see `scalars.py`), and the trainer is called with it.
"""

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
"""Metrics by name: `loss`, `accuracy`, and any others that a trainer measures."""

Architecture = Mapping[str, Any]
"""Definition of a model for one framework: data, never code, and nothing in it is pickled.

It is the model spec's entry for that framework; `blob`, a blob ref in the spec, holds the bytes.
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
"""Names of the softmax cross-entropy of class numbers in job files."""


@dataclass(frozen=True, slots=True)
class SchedulerPart:
    """A scheduler or callback that is a part of another one."""

    name: Word
    args: Arguments = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SchedulerParams(SchedulerPart):
    """A learning rate scheduler; `parts` are the schedulers that it chains."""

    parts: Annotated[tuple[SchedulerPart, ...], Bounds(max_length=MAX_SCHEDULERS)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmupParams:
    """A warm-up of the learning rate, which replaces the scheduler in a job's first `epochs`.

    Without a scheduler of its own it is linear in the number x of batches done: the learning rate
    is multiplied by factor * (1 - x / iters) + x / iters, and by 1 from x = iters on (Goyal et al.
    2017, arXiv 1706.02677, section 2.2).
    """

    epochs: Annotated[int, Strict(ge=1, le=100_000)]
    iters: Annotated[int, Strict(ge=1, le=100_000_000)] = 1
    factor: Annotated[float, Strict(gt=0, le=1000, allow_inf_nan=False)] = 1.0
    scheduler: SchedulerParams | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginChoice:
    """A plug-in that a job chooses by its id, and the parameters to call it with."""

    id: Ident
    parameters: Arguments = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOverrides:
    """A job's changes to how an agent reads its data: plug-ins that the agent's owner must allow.

    `loader` None is the agent's own; `transforms` follow those of the agent's own pipeline.
    """

    loader: Ident | None = None
    transforms: Annotated[tuple[PluginChoice, ...], Bounds(max_length=MAX_TRANSFORMS)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DpSgdParams:
    """Parameters of DP-SGD: gradients of single examples are clipped, and noise is added to sums.

    An agent with fewer than `least_examples` must not train: ε is computed for that number.
    """

    noise_multiplier: Annotated[float, Strict(gt=0, le=10_000, allow_inf_nan=False)]
    max_grad_norm: Annotated[float, Strict(gt=0, le=1e9, allow_inf_nan=False)] = 1.0
    least_examples: Annotated[int, Strict(ge=1, lt=2**53)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingParams:
    """Parameters of a training, and the metrics to measure; the same from job file to trainer.

    Given the same parameters, data and weights, a trainer on one machine returns the same update.

    Attributes:
        batch_size: Examples in a batch.
        epochs: Passes over the data.
        steps_per_epoch: Batches of an epoch, at most; None: all.
        learning_rate: The initial learning rate.
        optimizer: The optimizer's name, in lower case.
        optimizer_args: Arguments that the job gives, under the framework's names, without the
            learning rate; others have the framework's defaults.
        scheduler: The learning rate scheduler or callback; None: a constant rate.
        warmup: The warm-up before the scheduler; None: none.
        precision: `mixed` computes in bfloat16 where the device supports it.
        keep_optimizer_state: Whether an agent continues with the optimizer state of its previous
            task of this job; the trainer's `optimizer_state` is then read after the training.
        loss: The loss's name.
        metrics: Names of the metrics to measure, in addition to the loss.
        data_overrides: Already applied when a trainer is called; None keeps the agent's pipeline.
        objective: What the strategy adds to the loss; a trainer gets it as `LocalTerms`.
        update_transforms: Applied to the update after the training, in this order.
        dp_sgd: Train with DP-SGD; None: with the optimizer alone.
        round: The job's round, 1 for the first.
        seed: Seeds every source of chance in the training.
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
    objective: PluginChoice | None = None
    update_transforms: Annotated[tuple[PluginChoice, ...], Bounds(max_length=MAX_TRANSFORMS)] = ()
    dp_sgd: DpSgdParams | None = None
    round: RoundNumber = 1
    seed: Whole = 0

    def number(self, name: str, default: float) -> float:
        """Return an optimizer's number, or the default; raise TrainingError for no number."""
        value = self.optimizer_args.get(name, default)
        if not isinstance(value, int | float):
            raise TrainingError(f"{self.optimizer}.{name}: expected a number, got {value!r}")
        return value


@dataclass(frozen=True, slots=True)
class Update:
    """The result of a training: new weights (not the difference), examples used, and metrics."""

    weights: Weights
    examples: int
    metrics: Metrics
