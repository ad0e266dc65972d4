"""Energy of trainings and evaluations, as an agent measures it for jobs that ask for it."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedbus.energy.energy_meter import JOULES_PER_BYTE, EnergyMeter
from fedbus.training.params import TrainingParams
from fedbus.wire.blobs import BlobRef
from fedbus.wire.encryption import FixedPoint
from fedbus.wire.privacy import PrivacyTerms
from fedbus.wire.secure_aggregation import SecureAggregationTerms
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.measured_tasks import is_measured, transferred_bytes
from fedbus_edge_agent.training.outbox import Outbox
from tests.edge_agent.training.test_local_trainer import (
    Nudge,
    base_of,
    evaluation,
    learnable_data,
    model_of,
    task,
)


class Scores(Nudge):
    """A trainer that evaluates, too."""

    def evaluate(self, *_: object) -> dict[str, float]:
        """Return metrics that do not depend on the data."""
        return {"accuracy": 0.5}


class Seconds:
    """A process that uses one joule between two readings."""

    joules = 0.0

    def __call__(self) -> float:
        """Return the joules."""
        self.joules += 1.0
        return self.joules


def trainer(folder: Path) -> LocalTrainer:
    """Return a local trainer of a process that uses energy."""
    own = {"own": Scores}
    return LocalTrainer(
        Outbox(folder), learnable_data(), None, own, meter=EnergyMeter(Seconds(), intensity=360)
    )


def test_an_offer_has_the_energy_of_its_training(tmp_path: Path) -> None:
    """With the bytes of base and update; the evaluation after it has its own."""
    local, base, model = trainer(tmp_path), base_of(), model_of({"own": {}})
    asked = task(base, params=TrainingParams(), measures_energy=True)
    offer = local.train(asked, model, base, TaskControl()).stored.offer
    moved = (len(base) + offer.update.size) * JOULES_PER_BYTE
    assert offer.energy is not None
    assert offer.energy.joules == {"training": 1.0, "transfer": moved}
    assert offer.energy.grams == pytest.approx((1 + moved) / 1e4)
    measured = replace(evaluation(base), measures_energy=True)
    energy = local.evaluate(measured, model, base, TaskControl()).energy
    assert energy is not None
    assert energy.joules == {
        "evaluation": 1.0,
        "idle": 1.0,
        "transfer": len(base) * JOULES_PER_BYTE,
    }


def test_a_job_that_does_not_ask_gets_no_energy(tmp_path: Path) -> None:
    """Nothing is measured for it."""
    local, base, model = trainer(tmp_path), base_of(), model_of({"own": {}})
    plain = task(base, params=TrainingParams())
    assert local.train(plain, model, base, TaskControl()).stored.offer.energy is None
    assert local.evaluate(evaluation(base), model, base, TaskControl()).energy is None


FIXED = FixedPoint(bits=16, max_agents=3, max_examples=1)
MASKING = SecureAggregationTerms(fixed_point=FIXED, neighbours=20, threshold=0.67, step_seconds=10)
PRIVATE = PrivacyTerms(
    mechanism="dp-fixed", release="gaussian", noise_multiplier=1.1, delta=1e-5, cohort=20
)


def test_the_energy_of_a_hidden_training_is_not_reported() -> None:
    """It depends on the agent's data, as its metrics do."""
    asked = task(base_of(), measures_energy=True)
    assert is_measured(asked)
    assert not is_measured(replace(asked, masking=MASKING))
    assert not is_measured(replace(asked, privacy=PRIVATE))


def test_the_bytes_of_a_training_are_those_of_its_blobs() -> None:
    """Of the base as it is fetched, the strategy's state, the frozen bits and the update."""
    base = base_of()
    extra = BlobRef(digest="0" * 64, size=100)
    assert transferred_bytes(task(base), 10) == len(base) + 10
    assert transferred_bytes(task(base, state=extra, frozen=extra), 10) == len(base) + 210
