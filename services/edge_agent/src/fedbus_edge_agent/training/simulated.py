"""An agent that trains nothing: for fleets of hundreds in tests and benchmarks.

Everything but the training is real: the update is a real blob on a real disk, drawn from chance by
the task's seed, so that the same task makes the same bytes again.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedbus.model.blob import Blob, blank, flat
from fedbus.wire.messages import EvaluateTask, TrainTask
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.local_trainer import (
    EvaluationResult,
    Model,
    TrainingResult,
    check_digest,
    keep,
)
from fedbus_edge_agent.training.outbox import Outbox

PATTERN = 997
"""Numbers drawn for an update, repeated over it: a prime, so that no two blocks are alike."""

_DRAWN = np.random.default_rng(PATTERN).standard_normal(PATTERN, np.float32)
_SCALES = 2**16


def pattern(seed: int) -> NDArray[np.float32]:
    """Make a seed's numbers: those of one draw, turned and scaled. A draw of its own is dearer."""
    turns, scale = seed % PATTERN, 1 + seed // PATTERN % _SCALES / _SCALES
    return np.roll(_DRAWN, turns) * np.float32(scale)


class SimulatedTrainer:
    """Draws updates instead of training.

    Args:
        outbox: Where updates are kept.
        examples: What this agent claims to have trained on.
        on_update: Told of each new update, as (task, blob): how an oracle learns of them.
    """

    def __init__(
        self,
        outbox: Outbox,
        examples: int,
        on_update: Callable[[TrainTask, Blob], None] = lambda _task, _blob: None,
    ) -> None:
        self._outbox = outbox
        self._examples = examples
        self._on_update = on_update

    def train(
        self, task: TrainTask, model: Model, base: Blob, _control: TaskControl
    ) -> TrainingResult:
        """Draw an update from the task's seed."""
        check_digest(base, task.base.weights)
        blob = blank(model.layout, "delta")
        numbers = flat(blob, model.layout)
        whole = numbers.size // PATTERN * PATTERN
        drawn = pattern(task.params.seed)
        numbers[:whole].reshape(-1, PATTERN)[:] = drawn
        numbers[whole:] = drawn[: numbers.size - whole]
        self._on_update(task, blob)
        return keep(self._outbox, task, blob, self._examples, {"loss": 1.0 / task.round})

    def evaluate(
        self, task: EvaluateTask, model: Model, weights: Blob, _control: TaskControl
    ) -> EvaluationResult:
        """Score by the version: later is better."""
        check_digest(weights, task.version.weights)
        accuracy = 1 - 1 / (2 + task.version.version)
        return EvaluationResult(self._examples, {"accuracy": accuracy * bool(model.layout.numbers)})
