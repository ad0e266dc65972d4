"""Reports of private trainings: what an offer and a decline leave out, since no noise covers it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from fedbus.errors import (
    EncryptionError,
    LayoutError,
    MaskingError,
    PrivacyError,
    Stopped,
    StoreError,
    TrainingError,
)
from fedbus.plugins import PrivateTraining, SecretNoise
from fedbus.training.params import Update
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.messages import FeatureTask, TrainTask
from fedbus.wire.strategies import NO_FACTS, TrainingFacts
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.checks import NotFiniteError
from fedbus_edge_agent.training.errors import describe_error
from fedbus_edge_agent.training.private_task import hides_agent

PRIVATE_FAILURE: Final = (
    "the private training failed; why is in this agent's log, which stays on its machine"
)
HIDDEN_FAILURE: Final = (
    "the training failed; why is in this agent's log, which stays on its machine, since the "
    "job's updates are encrypted or masked"
)
_WITHOUT_DATA: Final = (EncryptionError, LayoutError, MaskingError, NotFiniteError, StoreError)
"""Errors whose sentences have no row of the data: a decline beside hidden updates states them."""


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What an offer says beside the update."""

    examples: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    facts: TrainingFacts = NO_FACTS
    ranges: tuple[int, ...] = ()
    energy: EnergyUsed | None = None


def training_report(
    task: TrainTask, update: Update, facts: TrainingFacts, norm_bit: float | None
) -> TrainingReport:
    """Return what the offer of a completed training says; of a private one, the norm bit at most.

    Beside an encrypted or masked update it says how many examples count, and nothing else.

    Raises:
        PrivacyError: The task needs a norm bit, and its mechanism sends none.
    """
    if not hides_agent(task) and (task.encryption or task.masking):
        return TrainingReport(min(update.examples, task.max_examples))
    if not hides_agent(task):
        return TrainingReport(update.examples, update.metrics, facts)
    if "norm_bit" not in task.facts:
        return TrainingReport(1)
    if norm_bit is None:
        raise PrivacyError(
            "the strategy needs the norm bit, which the job's privacy mechanism does not send"
        )
    return TrainingReport(1, facts=TrainingFacts(norm_bit=norm_bit))


def private_training(task: TrainTask, noise: SecretNoise) -> PrivateTraining | None:
    """Return what a task's privacy mechanism knows; None if the task has none."""
    if task.privacy is None:
        return None
    return PrivateTraining(noise=noise, numbers=task.numbers, cohort=task.privacy.cohort)


@contextmanager
def undisclosed(task: TrainTask | FeatureTask, control: TaskControl) -> Iterator[None]:
    """Keep on this machine why a training failed whose update is private, encrypted or masked.

    What a trainer or a data source says may have rows of the data. A `PrivacyError` has no figure
    of them, and passes.
    """
    try:
        yield
    except (PrivacyError, Stopped):
        raise
    except Exception as error:
        failure = PRIVATE_FAILURE
        if isinstance(task, TrainTask) and not hides_agent(task):
            hidden = task.encryption is not None or task.masking is not None
            if not hidden or isinstance(error, _WITHOUT_DATA):
                raise
            failure = HIDDEN_FAILURE
        control.notes.append(("private_training_failed", describe_error(error)))
        raise TrainingError(failure) from None
