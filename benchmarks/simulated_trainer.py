"""Simulated trainer for fleets of hundreds of agents in tests and benchmarks.

Only the training is simulated: the update is a blob of random numbers on a real disk. They are
drawn from the task's seed, so that a repeated task gives the same bytes. Those of an update that is
to be compressed do not repeat, and it leaves no residual.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedbus.model.blob import blank, flat
from fedbus.model.blob_header import Blob
from fedbus.model.sections import update_layout
from fedbus.wire.messages import EvaluateTask, TrainTask
from fedbus.wire.strategies import TrainingFacts
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.checks import check_digest
from fedbus_edge_agent.training.compressed_update import compressed_update, is_compressed
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.task_runner import (
    NO_STRATEGY_BLOBS,
    EvaluationResult,
    Model,
    StrategyBlobs,
    TrainingResult,
    store_update,
)

PATTERN_NUMBERS = 997
"""Count of random numbers that an update repeats: a prime, so that no two blocks are equal."""

_DRAWN = np.random.default_rng(PATTERN_NUMBERS).standard_normal(PATTERN_NUMBERS, np.float32)
_SCALES = 2**16


def pattern(seed: int) -> NDArray[np.float32]:
    """Return a seed's numbers: one draw for all seeds, rotated and scaled, which is faster."""
    rotation, scale = seed % PATTERN_NUMBERS, 1 + seed // PATTERN_NUMBERS % _SCALES / _SCALES
    return np.roll(_DRAWN, rotation) * np.float32(scale)


class SimulatedTrainer:
    """Task runner that draws updates instead of training.

    Args:
        outbox: Where updates are stored.
        examples: Number of examples that its offers state.
        on_update: Called with each new update, as (task, blob), before it is stored.
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
        self,
        task: TrainTask,
        model: Model,
        base: Blob,
        _control: TaskControl,
        strategy: StrategyBlobs = NO_STRATEGY_BLOBS,  # noqa: ARG002 - it needs none
    ) -> TrainingResult:
        """Store an update that is drawn from the task's seed."""
        check_digest(base, task.base.download)
        layout = update_layout(model.layout, task.sections)
        blob = blank(layout, "delta")
        numbers = flat(blob, layout)
        whole = numbers.size // PATTERN_NUMBERS * PATTERN_NUMBERS
        drawn = pattern(task.params.seed)
        numbers[:whole].reshape(-1, PATTERN_NUMBERS)[:] = drawn
        numbers[whole:] = drawn[: numbers.size - whole]
        if is_compressed(task):
            numbers[:] = np.random.default_rng(task.params.seed).standard_normal(numbers.size)
            blob = compressed_update(task, model.layout, blob).blob
        self._on_update(task, blob)
        metrics, facts = {"loss": 1.0 / task.round}, TrainingFacts(steps=1, base_loss=0.5)
        return store_update(self._outbox, task, blob, self._examples, metrics, facts)

    def evaluate(
        self, task: EvaluateTask, model: Model, weights: Blob, _control: TaskControl
    ) -> EvaluationResult:
        """Return an accuracy that rises with the version's number."""
        check_digest(weights, task.version.weights)
        accuracy = 1 - 1 / (2 + task.version.version)
        return EvaluationResult(self._examples, {"accuracy": accuracy * bool(model.layout.numbers)})
