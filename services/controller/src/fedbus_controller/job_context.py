"""Context of a job: its file, lease epoch and secret; services that all jobs share. Pure."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from fedbus.jobs import JobFile, training_params_of
from fedbus.plugins import Selector
from fedbus.training.params import TrainingParams
from fedbus.wire.identifiers import Timestamp
from fedbus.wire.strategies import Strategy
from fedbus_controller.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Services:
    """Services that all jobs share; `utc` returns the time for documents.

    `strategy` resolves a job's strategy, and raises FedbusError if a part cannot be used.
    """

    repository: str
    fleet: Fleet
    selector: Callable[[str], Selector]
    strategy: Callable[[JobFile], Strategy]
    utc: Callable[[], Timestamp]


@dataclass(frozen=True, slots=True)
class JobContext:
    """Content that the messages of a job have in common."""

    job: str
    file: JobFile
    epoch: int
    secret: bytes
    strategy: Strategy
    params: TrainingParams = field(init=False)
    """The training parameters of the file and the strategy, built once for all tasks."""

    def __post_init__(self) -> None:
        """Build the training parameters."""
        params = replace(
            training_params_of(self.file),
            objective=self.strategy.objective,
            update_transforms=self.strategy.update_transforms,
        )
        object.__setattr__(self, "params", params)

    def rng(self, *purpose: object) -> Random:
        """Return a generator for a purpose; without the job's secret it cannot be predicted."""
        text = "\0".join((self.job, *(str(part) for part in purpose)))
        return Random(hashlib.sha256(self.secret + text.encode()).digest())
