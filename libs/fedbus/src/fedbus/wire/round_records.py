"""Plans and records of rounds, as the repository stores them."""

from dataclasses import dataclass
from typing import Annotated

from fedbus.limits import MAX_COHORT_AGENTS
from fedbus.scalars import Bounds, Flag, Ident, RoundNumber, Strict, Text, Whole
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus.wire.identifiers import Digest, Metrics, NodeName, TaskNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class Contributor:
    """An update in a round's aggregate: its agent, task, number of examples and digest."""

    agent: NodeName
    task: Whole
    examples: Whole
    update: Digest
    metrics: Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An agent of the cohort whose update is not in the aggregate, with the reason."""

    agent: NodeName
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The controller's decision about a round; stored before any agent is asked.

    `task` rises with every plan of a job, so (job, agent, task) names at most one update.
    """

    job: Ident
    round: RoundNumber
    task: TaskNumber
    base: ModelRef
    collector: NodeName
    cohort: Annotated[tuple[NodeName, ...], Bounds(min_length=1, max_length=MAX_COHORT_AGENTS)]
    quorum: Annotated[int, Strict(ge=1, le=MAX_COHORT_AGENTS)]
    deadline_seconds: Annotated[float, Strict(gt=0, le=86_400)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """A committed round: stored in one document with the version that it made."""

    job: Ident
    round: RoundNumber
    task: TaskNumber
    model: Ident
    parent: Whole
    spec: BlobRef
    weighted: Flag
    contributors: Annotated[
        tuple[Contributor, ...], Bounds(min_length=1, max_length=MAX_COHORT_AGENTS)
    ]
    refusals: Annotated[tuple[Refusal, ...], Bounds(max_length=MAX_COHORT_AGENTS)]
    metrics: Metrics
    seconds: Metrics
