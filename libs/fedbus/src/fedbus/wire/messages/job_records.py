"""Messages of users about jobs that are stored: their files, results and configurations."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from fedbus.limits import MAX_JOB_FILE_BYTES
from fedbus.scalars import Bounds, Flag, Ident, Strict, Text, Whole
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.identifiers import Metrics, Timestamp
from fedbus.wire.messages.model_trail import MAX_PAGE_VERSIONS, PageLimit
from fedbus.wire.privacy import PrivacySpent
from fedbus.wire.strategies import Strategy

JobFileBytes = Annotated[bytes, Strict(max_length=MAX_JOB_FILE_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A configuration as it is listed: what job files of a model mean, without the job's id.

    `number` counts the configurations of a repository, from 1.
    """

    configuration: Ident
    model: Ident
    number: Whole
    at: Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What a job has come to: after its last committed round, running or ended.

    `version` is the last one that it made; null: none. `metrics` are those of that version,
    held-out ones where evaluators measured them. `strategy` is that of the last round, before the
    first that of the job, if it is stored. If the job has a privacy mechanism, `contributors` is 0,
    and `energy` null; else `contributors` is the number of those of the last round.
    """

    job: Ident
    model: Ident
    configuration: Ident | None
    phase: Literal["running", "finished", "failed", "cancelled"]
    reason: Text = ""
    rounds: Whole = 0
    version: Whole | None = None
    metrics: Metrics = field(default_factory=dict)
    contributors: Whole = 0
    strategy: Strategy | None = None
    privacy: PrivacySpent | None = None
    energy: EnergyUsed | None = None
    submitted: Timestamp | None = None
    ended: Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOutcome:
    """A committed round of a job: the version that it made, and its metrics.

    If the job has a privacy mechanism, `contributors` is 0, and `metrics` are held-out ones only.
    """

    round: Whole
    version: Whole
    metrics: Metrics
    contributors: Whole = 0
    at: Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowJobFile:
    """Return the file of a job, as it was submitted."""

    job: Ident


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFileShown:
    """The file of a job, byte for byte, and the id of its configuration."""

    job: Ident
    model: Ident
    file: JobFileBytes
    configuration: Ident | None
    submitted: Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowJobResult:
    """Return the result of a job, and its rounds below round `before`, the newest first."""

    job: Ident
    limit: PageLimit = 100
    before: Whole | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResultShown:
    """The result of a job and a page of its rounds; `more`: further ones follow the last."""

    result: JobResult
    before: Whole | None
    rounds: Annotated[tuple[RoundOutcome, ...], Bounds(max_length=MAX_PAGE_VERSIONS)]
    more: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListJobResults:
    """Return the results of the jobs that train or trained a model, the newest job first.

    The answer starts after the job `before`.
    """

    model: Ident
    limit: PageLimit = 100
    before: Ident | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResultsListed:
    """A page of results of a model's jobs; `more`: further ones follow the last."""

    model: Ident
    before: Ident | None
    results: Annotated[tuple[JobResult, ...], Bounds(max_length=MAX_PAGE_VERSIONS)]
    more: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfiguration:
    """Store the configuration of a job file, without a job; a known one is not stored again."""

    file: JobFileBytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationStored:
    """The configuration is stored; `known`: it was before."""

    configuration: Configuration
    known: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowConfiguration:
    """Return a configuration."""

    configuration: Ident


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationShown:
    """A configuration, and the job file without an id that it is."""

    configuration: Configuration
    file: JobFileBytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ListConfigurations:
    """Return the configurations of a model (null: of all), the newest first.

    The answer starts at the configuration below the number `before`.
    """

    model: Ident | None = None
    limit: PageLimit = 100
    before: Whole | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationsListed:
    """A page of configurations; `more`: further ones follow the last."""

    model: Ident | None
    before: Whole | None
    configurations: Annotated[tuple[Configuration, ...], Bounds(max_length=MAX_PAGE_VERSIONS)]
    more: Flag = False
