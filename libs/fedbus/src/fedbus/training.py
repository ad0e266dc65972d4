"""What passes between an agent and a trainer: parameters in, an update out. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fedbus.errors import TrainingError
from fedbus.layout import Weights

Metrics = Mapping[str, float]
"""Named figures: `loss`, `accuracy`, and whatever else a trainer measures."""

Structure = Mapping[str, Any]
"""What the repository stores beside a model to rebuild it; each framework says what is in it.

It is the model card's entry for that framework, in which `blob`, a manifest on the wire, has become
the bytes. It holds data, never code, and nothing in it is pickled.
"""

Argument = bool | int | float | str | tuple[float, ...] | tuple[int, ...]
"""What an argument of an optimizer or a scheduler may be."""

CROSS_ENTROPY = frozenset(
    {"categorical_crossentropy", "sparse_categorical_crossentropy", "cross_entropy"}
)
"""What jobs call the softmax cross-entropy of class numbers."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A scheduler by name, with the arguments the job gives it; `parts` are those it is made of."""

    name: str
    args: Mapping[str, Argument] = field(default_factory=dict)
    parts: tuple["Chosen", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup:
    """What stands in for the scheduler in a job's first `epochs`.

    Without a scheduler of its own the learning rate is multiplied, after x batches, by
    factor * (1 - x / iters) + x / iters, and by 1 from x = iters on.
    """

    epochs: int
    iters: int = 1
    factor: float = 1.0
    scheduler: Chosen | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """How to train: one entry of a job's `config`, its optimizer, and the task's seed.

    `epochs` passes over the data, each of at most `steps_per_epoch` batches of `batch_size` rows.
    Given the same seed, data and weights, a trainer on one machine makes the same update again.

    `optimizer_args` are those the job gives, in its words, the learning rate apart; what it leaves
    out is the framework's own default. `round` is the job's, 1 for the first. `mixed` precision is
    for devices that have it; others train in full. With `keep_state` the trainer's `state`, if it
    has that, is asked for after training; else nothing of it need be remembered.
    """

    batch_size: int = 32
    epochs: int = 1
    steps_per_epoch: int | None = None
    learning_rate: float = 0.01
    optimizer: str = "sgd"
    optimizer_args: Mapping[str, Argument] = field(default_factory=dict)
    scheduler: Chosen | None = None
    warmup: Warmup | None = None
    precision: Literal["full", "mixed"] = "full"
    loss: str = "categorical_crossentropy"
    metrics: tuple[str, ...] = ("accuracy",)
    round: int = 1
    seed: int = 0
    keep_state: bool = False

    def number(self, name: str, default: float) -> float:
        """Return an argument of the optimizer that is one number.

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


def one_class(loss: str) -> str:
    """Say why a loss of classes cannot be taken of a model with one output."""
    return (
        f"the model has one output, of which {loss} is always 0: binary_crossentropy is the loss "
        "of yes or no, mean_squared_error that of a quantity"
    )


@dataclass(slots=True)
class Tally:
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
