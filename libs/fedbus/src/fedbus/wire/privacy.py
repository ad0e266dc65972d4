"""Differential privacy in messages and records: a job's terms, what is spent, ledger entries.

The repository keeps a ledger of every job: one entry for each release of noisy data. An entry is
stored before the noise leaves the node that draws it, so the ledger never states too little.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, Final, Literal

from fedbus.limits import MAX_COHORT_AGENTS
from fedbus.scalars import Bounds, Flag, Ident, RoundNumber, Strict, Whole
from fedbus.wire.identifiers import Digest, NodeName, TaskNumber, Timestamp

Unit = Literal["agent", "example"]
"""What one ε protects: all data of one agent, or one training example."""

Relation = Literal["add-or-remove-one", "zero-out", "replace-one"]
"""Which data sets are neighbours: one unit more or less, one unit's updates or gradients replaced
by zero, or one unit's data replaced by any other."""

Sampling = Literal["poisson", "any"]
"""How cohorts are drawn: each agent on its own with one probability and in secret, so that ε
profits from it; or in any way, and ε does not."""

NoiseKind = Literal[
    "gaussian", "banded", "laplace", "randomized-response", "dp-sgd", "metric", "features"
]
"""What is accounted: Gaussian noise, for each entry alone; banded noise of the whole job; noise
or randomized response of each agent; noisy gradients; metric privacy, which has no ε; randomized
features, sent once."""

OF_EACH_AGENT: Final[Mapping[str, str]] = MappingProxyType(
    {"noise": "agents", "entered": "with-plan", "clipping": "trusted"}
)
"""Fields of the terms of a mechanism with which each agent protects itself from everyone."""

DEFAULT_STDDEV_SHARE: Final = 1 / 20
"""Default of clip_count_stddev, as a share of the agents wanted in a round (Andrew et al. 2021)."""

Positive = Annotated[float, Strict(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyTerms:
    """What a job promises, resolved when it is submitted; all its rounds have the same terms.

    Attributes:
        mechanism: The key in `privacy-mechanisms`; the id of an update transform but for `dp-sgd`
            and `mistnet`.
        release: What the accountant composes.
        noise: Who draws the noise.
        entered: When an entry of the ledger is stored: with the plan, since each agent protects
            what it sends by itself, and may have sent it as soon as it is asked; or with the
            updates, before the collector combines them.
        correlated: Whether later rounds draw the noise of earlier ones again.
        clipping: Whether the collector measures each update and refuses one that is longer than the
            noise is for; else agents are trusted to clip, since it cannot measure theirs.
        noise_multiplier: Standard deviation (for Laplace noise: scale) of the noise in a sum of
            updates, divided by the greatest change that one unit makes in that sum. For randomized
            response: probability that one bit is drawn at random. 0 for metric privacy.
        delta: The δ for which ε is computed.
        target_epsilon: The ε that the job may not exceed; None: no limit.
        cohort: The number of agents wanted in a round; the fixed denominator of means.
        population: Number of agents that may take part; None: unknown.
        rate: Probability with which Poisson sampling draws an agent, or DP-SGD an example.
        steps: Noisy releases in one participation of an agent: 1, or the optimizer steps of DP-SGD,
            or the bits of randomized response.
        bands: Rounds over which banded noise is correlated.
        min_separation: Fewest entries between two participations of an agent, plus 1: with 1 an
            agent may take part in consecutive entries.
        max_participations: Most entries in which one agent takes part; None: no limit.
    """

    mechanism: Ident
    unit: Unit = "agent"
    relation: Relation = "zero-out"
    sampling: Sampling = "any"
    release: NoiseKind
    noise: Literal["collector", "agents"] = "collector"
    entered: Literal["with-plan", "with-updates"] = "with-updates"
    correlated: Flag = False
    clipping: Literal["enforced", "trusted"] = "enforced"
    noise_multiplier: Annotated[float, Strict(ge=0, allow_inf_nan=False)]
    delta: Annotated[float, Strict(ge=0, lt=1, allow_inf_nan=False)]
    target_epsilon: Positive | None = None
    accountant: Literal["rdp", "pld"] = "pld"
    cohort: Annotated[int, Strict(ge=1, le=MAX_COHORT_AGENTS)]
    population: Annotated[int, Strict(ge=1, le=2**31)] | None = None
    rate: Annotated[float, Strict(gt=0, le=1, allow_inf_nan=False)] = 1.0
    steps: Annotated[int, Strict(ge=1, lt=2**53)] = 1
    bands: Annotated[int, Strict(ge=1, le=100_000)] = 1
    min_separation: Annotated[int, Strict(ge=1, le=100_000)] = 1
    max_participations: Annotated[int, Strict(ge=1, le=100_000)] | None = None

    @property
    def poisson(self) -> bool:
        """Whether each agent is drawn on its own and in secret."""
        return self.sampling == "poisson"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacySpent:
    """What the ledger of a job adds up to, after one of its entries.

    Attributes:
        epsilon: The ε of the job so far; None if there is no finite one, as for metric privacy.
        entries: Number of ledger entries.
        participations: Most entries in which one agent took part.
        model_epsilon: The sum of the ε of all jobs that trained the model; None if one is unknown.
        model_delta: The sum of their δ.
    """

    mechanism: Ident
    unit: Unit
    relation: Relation
    sampling: Sampling
    accountant: Literal["rdp", "pld"]
    epsilon: Annotated[float, Strict(ge=0, allow_inf_nan=False)] | None
    delta: Annotated[float, Strict(ge=0, allow_inf_nan=False)]
    target_epsilon: Positive | None = None
    entries: Whole
    participations: Whole
    model_epsilon: Annotated[float, Strict(ge=0, allow_inf_nan=False)] | None
    model_delta: Annotated[float, Strict(ge=0, allow_inf_nan=False)]

    @property
    def poisson(self) -> bool:
        """Whether each agent was drawn on its own and in secret."""
        return self.sampling == "poisson"


def public_spent(spent: PrivacySpent | None) -> PrivacySpent | None:
    """Return what users may read of what a job has spent.

    With Poisson sampling ε covers a cohort only as long as it is secret, and `participations`
    depends on who took part: it becomes the number of entries, which is never less.
    """
    if spent is None or not spent.poisson:
        return spent
    return replace(spent, participations=spent.entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One release of noisy data, stored before the noise leaves the node that draws it.

    `agents` are those whose data it depends on. `updates` is the digest of the sorted (agent,
    update digest, norm bit) triples that are combined; None if the agents draw the noise, since
    then the entry is stored with the plan. `noise_multiplier` is that of the terms, or the one that
    is left if fewer agents than wanted have added their share of the noise.
    """

    job: Ident
    round: RoundNumber
    task: TaskNumber
    agents: Annotated[tuple[NodeName, ...], Bounds(max_length=MAX_COHORT_AGENTS)]
    updates: Digest | None
    noise_multiplier: Annotated[float, Strict(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseStep:
    """What an entry's noise was drawn from, beside the key: enough to draw it again."""

    round: RoundNumber
    task: TaskNumber
    updates: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Participation:
    """In how many ledger entries an agent took part, and in which one last, from 1."""

    agent: NodeName
    count: Whole
    last: Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPrivacy:
    """What one job has spent on a model; `spent` is None before its first ledger entry.

    `mechanism` is its privacy mechanism, None if it has none. `failed` of its entries belong to
    rounds that were not committed: their noise was drawn.
    """

    job: Ident
    rounds: Whole
    running: Flag
    spent: PrivacySpent | None
    failed: Whole = 0
    first_version: Whole | None = None
    last_version: Whole | None = None
    submitted: Timestamp | None = None
    mechanism: Ident | None = None
