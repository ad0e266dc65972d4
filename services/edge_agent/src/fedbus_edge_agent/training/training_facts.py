"""Facts about a training that a strategy weighs updates by: optimizer steps, loss of the base."""

import math

from fedbus.data import Dataset
from fedbus.errors import PluginError, TrainingError
from fedbus.model.layout import Weights
from fedbus.plugins import Evaluates
from fedbus.training.params import TrainingParams
from fedbus.wire.messages import TrainTask
from fedbus.wire.strategies import TrainingFacts
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.trainer_cache import CachedTrainer


class FactsOfTask:
    """Measures the facts that a task asks for, before and after its training."""

    def __init__(self, task: TrainTask) -> None:
        self._task = task
        self._trainer = ""
        self._base_loss: float | None = None

    def begin(self, trainer: CachedTrainer, weights: Weights, data: Dataset) -> None:
        """Measure the loss of the base on the training data, if the task asks for it.

        Raises:
            PluginError: The trainer measures no loss.
            TrainingError: The loss is not finite.
        """
        self._trainer = trainer.name
        if "base_loss" in self._task.facts:
            self._base_loss = _measured_loss(trainer, weights, data, self._task.params)

    def end(self, control: TaskControl) -> TrainingFacts:
        """Return the facts of the training, which is completed.

        Raises:
            TrainingError: The trainer took its batches from elsewhere, so its steps are unknown.
        """
        steps = self.steps(control) if "steps" in self._task.facts else None
        return TrainingFacts(steps=steps, base_loss=self._base_loss)

    def steps(self, control: TaskControl) -> int:
        """Return the number of optimizer steps; raises as `end` does."""
        if not control.steps:
            raise TrainingError(
                f"trainer {self._trainer} took no batch from data.steps(params), so its optimizer "
                "steps, which the job's strategy needs, are unknown"
            )
        return control.steps


def _measured_loss(
    cached: CachedTrainer, weights: Weights, data: Dataset, params: TrainingParams
) -> float:
    lacks = f"trainer {cached.name} cannot measure a loss, which the job's strategy needs"
    if not isinstance(cached.trainer, Evaluates):
        raise PluginError(f"{lacks}: it has no method evaluate")
    metrics = cached.trainer.evaluate(weights, data, params)
    if "loss" not in metrics:
        raise PluginError(f"{lacks}: its evaluate returns none")
    loss = float(metrics["loss"])
    if not math.isfinite(loss):
        raise TrainingError(f"the loss of the base on this agent's data is {loss}, not finite")
    return loss
