"""Results of a client's methods for jobs: immutable, typed, and free of I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fedbus.wire.documents import ENDED_PHASES, JobState, RoundState
from fedbus.wire.messages import JobResult, RoundOutcome
from fedbus.wire.result_record import result_record


@dataclass(frozen=True, slots=True)
class Submission:
    """The controller's answer to a job that it accepted.

    Attributes:
        job: The job's id.
        known: Whether the same job was submitted before, so that no new one runs.
        phase: The phase of a known job; empty for a new one.
        warnings: Settings of the job that have no effect.
        answer: The whole answer, as in its JSON.
    """

    job: str
    known: bool = False
    phase: str = ""
    warnings: tuple[str, ...] = ()
    answer: Mapping[str, Any] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether the job had ended before it was submitted this time."""
        return self.known and self.phase in ENDED_PHASES


@dataclass(frozen=True, slots=True)
class JobHistory:
    """A job's state, and its finished rounds in order: the last 1,000 of the last seven days."""

    state: JobState
    rounds: tuple[RoundState, ...]


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What a job has come to, by the repository's records: never deleted, and for any job.

    Attributes:
        result: Phase, last version and metrics, strategy, what was spent and used.
        rounds: The rounds, oldest first.
    """

    result: JobResult
    rounds: tuple[RoundOutcome, ...]

    @property
    def record(self) -> dict[str, Any]:
        """The result record as JSON has it: model, version, ids, and `results` with the rounds."""
        return result_record(self.result, self.rounds)


@dataclass(frozen=True, slots=True)
class Awaiting:
    """What a job cannot go on without, `a collector: none has ever been online`; "" is nothing."""

    what: str


JobNews = JobState | RoundState | Awaiting
"""An item that `follow` yields."""
