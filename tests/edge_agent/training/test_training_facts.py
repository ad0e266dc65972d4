"""Facts about a training that a strategy asks for: optimizer steps, and the loss of the base."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedbus.data import Dataset
from fedbus.data.dataset import Batch
from fedbus.errors import FedbusError, PluginError, TrainingError
from fedbus.model.layout import Weights
from fedbus.training.params import TrainingParams, Update
from fedbus.wire.messages import TrainTask
from fedbus.wire.strategies import FactName, TrainingFacts
from fedbus_edge_agent.training.cancellation import TaskControl
from tests.edge_agent.training.test_local_trainer import (
    Nudge,
    base_of,
    local_trainer_of,
    model_of,
    needs_tflite,
    task,
)


class Walker(Nudge):
    """A trainer that takes its batches as most do."""

    def walk(self, data: Dataset, params: TrainingParams) -> Iterator[Batch]:
        return data.steps(params)

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        for _ in self.walk(data, params):
            pass
        return super().train(weights, data, params)

    def evaluate(self, weights: Weights, data: Dataset, _params: TrainingParams) -> object:
        rows = sum(len(x) for x, _ in data.batches())
        return {"loss": rows + float(next(iter(weights.values())).flat[0])}


class ByEpoch(Walker):
    """A trainer that takes one epoch after the other."""

    def walk(self, data: Dataset, params: TrainingParams) -> Iterator[Batch]:
        return (batch for epoch in data.epochs(params) for batch in epoch)


class Augmenting(Walker):
    """A trainer that transforms its rows once more."""

    def walk(self, data: Dataset, params: TrainingParams) -> Iterator[Batch]:
        return data.transformed(lambda batch, _rng: batch).steps(params)


class Boundless(Walker):
    """A trainer whose loss is infinite."""

    def evaluate(self, _weights: Weights, _data: Dataset, _params: TrainingParams) -> object:
        return {"loss": np.inf}


class Lossless(Walker):
    """A trainer that measures something else."""

    def evaluate(self, _weights: Weights, _data: Dataset, _params: TrainingParams) -> object:
        return {"accuracy": 1.0}


PARAMS = TrainingParams(batch_size=8, epochs=3, steps_per_epoch=4)
BOTH: tuple[FactName, ...] = ("steps", "base_loss")


def asking(*facts: FactName) -> TrainTask:
    """Return a task that asks for facts; its base has the value 2 everywhere."""
    return task(base_of(2.0), facts=facts, params=PARAMS)


def reported(
    folder: Path, trainer: type[Nudge], order: TrainTask, control: TaskControl | None = None
) -> TrainingFacts:
    """Return the facts of an offer."""
    local_trainer, model = local_trainer_of(folder, own=trainer), model_of({"own": {}})
    trained = local_trainer.train(order, model, base_of(2.0), control or TaskControl())
    return trained.stored.offer.facts


@pytest.mark.parametrize("trainer", [Walker, ByEpoch, Augmenting])
def test_the_steps_of_every_trainer_are_counted(tmp_path: Path, trainer: type[Nudge]) -> None:
    """It need not know about it: the agent counts the batches that it takes."""
    assert reported(tmp_path, trainer, asking("steps")) == TrainingFacts(steps=12)


def test_the_loss_of_the_base_is_measured_on_the_training_data(tmp_path: Path) -> None:
    """Before the training, on all rows; the batches of that are no steps."""
    control = TaskControl()
    found = reported(tmp_path, Walker, asking(*BOTH), control)
    assert found == TrainingFacts(steps=12, base_loss=42.0)
    assert control.progress == 96 / (3 * 32)


def test_facts_that_no_strategy_needs_are_neither_measured_nor_sent(tmp_path: Path) -> None:
    """A trainer that cannot measure them trains all the same."""
    assert reported(tmp_path, Nudge, asking()) == TrainingFacts()


@pytest.mark.parametrize(
    ("trainer", "facts", "error", "reason"),
    [
        (Nudge, ("steps",), TrainingError, "trainer own took no batch from data.steps"),
        (Nudge, ("base_loss",), PluginError, "trainer own cannot .* it has no method evaluate"),
        (
            Lossless,
            BOTH,
            PluginError,
            "trainer own cannot measure a loss, .* evaluate returns none",
        ),
        (Boundless, BOTH, TrainingError, "loss of the base on this agent's data is inf, not"),
    ],
)
def test_a_training_without_a_fact_that_its_strategy_needs_is_declined(
    tmp_path: Path,
    trainer: type[Nudge],
    facts: tuple[FactName, ...],
    error: type[FedbusError],
    reason: str,
) -> None:
    """The collector would refuse its offer."""
    with pytest.raises(error, match=reason):
        reported(tmp_path, trainer, asking(*facts))
    assert list(tmp_path.glob("*.update")) == []


@needs_tflite
def test_a_tflite_model_reports_its_steps_and_the_loss_of_its_base(tmp_path: Path) -> None:
    """With weights of zero, ten classes are equally likely."""
    base = base_of(0.0)
    order = replace(task(base, facts=BOTH), trainer="tflite")
    local_trainer = local_trainer_of(tmp_path)
    trained = local_trainer.train(order, model_of(), base, TaskControl())
    facts = trained.stored.offer.facts
    assert facts.steps == 20 * 5
    assert facts.base_loss == pytest.approx(np.log(10), abs=1e-5)
