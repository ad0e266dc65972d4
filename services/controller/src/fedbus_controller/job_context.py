"""What a job is run with: its file, its chance, its lease, and the means at hand. Pure."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from fedbus.jobs import JobFile, training_params_of
from fedbus.plugins import Selector
from fedbus.training.params import TrainingParams
from fedbus.wire.identifiers import Timestamp
from fedbus_controller.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Services:
    """What jobs are run with; `utc` is the clock by which people are told when."""

    repository: str
    fleet: Fleet
    selector: Callable[[str], Selector]
    utc: Callable[[], Timestamp]


@dataclass(frozen=True, slots=True)
class JobContext:
    """What the messages of a job are made of."""

    job: str
    file: JobFile
    epoch: int
    secret: bytes
    params: TrainingParams = field(init=False)
    """What every agent is told of the file: gathered once, not for each of them."""

    def __post_init__(self) -> None:
        """Gather the parameters."""
        object.__setattr__(self, "params", training_params_of(self.file))

    def rng(self, *what: object) -> Random:
        """Make chance that replays for who knows the job's secret, and nobody else can predict."""
        text = "\0".join((self.job, *(str(part) for part in what)))
        return Random(hashlib.sha256(self.secret + text.encode()).digest())
