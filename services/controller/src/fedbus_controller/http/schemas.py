"""Schemas of the controller's HTTP API, with the names of ASSIST-IoT's FL orchestrator. Pure."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from fedbus.scalars import Bounds, Flag, Ident, Text, Whole
from fedbus.wire.documents import JobPhase, JobState

TrainingStatus = Literal["INACTIVE", "WAITING", "TRAINING", "INTERRUPTED", "FINISHED"]
STATUS_OF: Final[dict[str, TrainingStatus]] = {
    "accepted": "WAITING",
    "running": "TRAINING",
    "finished": "FINISHED",
    "failed": "INTERRUPTED",
    "cancelled": "INTERRUPTED",
}
"""The status of each phase of a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """State of a job: INACTIVE is one that is not known here.

    Attributes:
        round: The number of rounds that are done.
        num_rounds: All rounds of the job; 0: not known any more.
        phase: The same as fedbus calls it; null if the job is not known.
        epsilon: What a private job has spent.
    """

    training_id: Ident
    status: TrainingStatus
    round: Whole = 0
    num_rounds: Whole = 0
    phase: JobPhase | None = None
    reason: Text = ""
    model_name: Ident | None = None
    model_version: Whole | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    epsilon: float | None = None
    submitted: str | None = None
    ended: str | None = None

    @classmethod
    def of(cls, state: JobState) -> "JobStatus":
        """Return the status of a job from its published state."""
        return cls(
            training_id=state.job,
            status=STATUS_OF[state.phase],
            round=state.round,
            num_rounds=state.num_rounds,
            phase=state.phase,
            reason=state.reason,
            model_name=state.model,
            model_version=state.version,
            metrics=state.metrics,
            epsilon=None if state.privacy is None else state.privacy.epsilon,
            submitted=state.submitted,
            ended=state.ended,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAccepted:
    """A stored job; `known`: it was stored before, and nothing was started."""

    training_id: Ident
    known: Flag = False
    warnings: tuple[Text, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultReport:
    """Result of a job, in ASSIST-IoT's notation, and its last rounds."""

    model_name: Ident
    model_version: Whole | None
    training_id: Ident
    configuration_id: Ident | None
    results: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationReport:
    """A configuration: a job file without an id, under a digest of what it means.

    Attributes:
        configuration: The job file; not in lists.
    """

    configuration_id: Ident
    model_name: Ident
    number: Whole
    stored: str | None = None
    configuration: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredTraining:
    """A stored configuration to train with, as a job of this id or of a new one."""

    configuration_id: Ident
    training_id: Ident | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelQuestion:
    """The model whose newest configuration is asked for."""

    model_name: Ident


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationQuestion:
    """The configuration that is asked for."""

    configurationId: Ident  # noqa: N815 - ASSIST-IoT's name


@dataclass(frozen=True, slots=True, kw_only=True)
class EnablersStatus:
    """Which services are online: this controller, and how many others it sees."""

    data: Annotated[dict[str, Any], Bounds(max_length=16)]
