"""Correlation keys of the collector's actions, each with its round."""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from fedbus.core.keys import Key

Input: TypeAlias = Literal["spec", "base", "state", "frozen"]


@dataclass(frozen=True, slots=True)
class RoundKey(Key):
    """Base of the keys of a round, which is one task of a job."""

    job: str
    task: int


class RoundDeadline(RoundKey):
    """Timer: the round's deadline."""


class StepDeadline(RoundKey):
    """Timer: a step of a masked round waits no longer."""


class RoundInputRetry(RoundKey):
    """Timer: an input that did not arrive is fetched again."""


class RoundInputFetch(RoundKey):
    """Base of the fetches of a round's inputs."""

    part: ClassVar[Input]


class LayoutFetch(RoundInputFetch):
    """Fetch of the model spec, which holds the layout."""

    part: ClassVar[Input] = "spec"


class BaseFetch(RoundInputFetch):
    """Fetch of the base model's weights."""

    part: ClassVar[Input] = "base"


class StateFetch(RoundInputFetch):
    """Fetch of the arrays that the strategy keeps with the base version."""

    part: ClassVar[Input] = "state"


class FrozenFetch(RoundInputFetch):
    """Fetch of the bits of the numbers that this round leaves out."""

    part: ClassVar[Input] = "frozen"


class RoundRun(RoundKey):
    """Base of a worker thread's calls for a round; `work` names the call in logs and reasons."""

    work: ClassVar[str]


class InputCheck(RoundRun):
    """Base of the runs that compute the digest of a fetched input."""

    part: ClassVar[Input]
    work: ClassVar[str] = "check"


class BaseCheck(InputCheck):
    """Run that computes the digest of the fetched base."""

    part: ClassVar[Input] = "base"


class StateCheck(InputCheck):
    """Run that computes the digest of the fetched state."""

    part: ClassVar[Input] = "state"


class FrozenCheck(InputCheck):
    """Run that computes the digest of the fetched bits of frozen numbers."""

    part: ClassVar[Input] = "frozen"


class NoiseKeyPoll(Key):
    """Timer and run: the file of the noise key is read again."""


class NoiseKeyRead(RoundRun):
    """Run that reads the noise key for a round."""

    work: ClassVar[str] = "noise key"


class PartsRun(RoundRun):
    """Run that makes the parts of a strategy with third-party plug-ins."""

    work: ClassVar[str] = "strategy"


@dataclass(frozen=True, slots=True)
class FoldRun(RoundRun):
    """Run that verifies the updates of `agents`, and adds them to the total if there is one."""

    agents: tuple[str, ...]
    work: ClassVar[str] = "fold"


class AggregateRun(RoundRun):
    """Run that computes the new version from the updates."""

    work: ClassVar[str] = "aggregate"


@dataclass(frozen=True, slots=True)
class UpdateFetch(RoundKey):
    """Fetch of an agent's update."""

    agent: str


@dataclass(frozen=True, slots=True)
class StepRequest(RoundKey):
    """Request to an agent to do a step of a masked round."""

    agent: str


@dataclass(frozen=True, slots=True)
class UpdateLookup(RoundKey):
    """Request to the repository: whether an update of a past round counts."""

    agent: str


class LedgerRequest(RoundKey):
    """Request to the repository to store the round's ledger entry."""


class CommitRequest(RoundKey):
    """Request to the repository to commit the aggregate."""


class RoundEndReport(RoundKey):
    """Request to the controller to note how the round ended."""
