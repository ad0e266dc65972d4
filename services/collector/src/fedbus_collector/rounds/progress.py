"""The facts of one round: who is on the cohort, who has counted, whether it may close. Pure."""

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice

from fedbus.training.metrics_mean import mean_metrics, sendable
from fedbus.training.options import as_training_metrics, impossible_metric
from fedbus.wire.messages import Offer, OpenRound
from fedbus.wire.round_records import Contributor, Plan, Refusal, RoundRecord

METRICS_TOGETHER = 4096
MAX_REFUSAL_CHARACTERS = 300
"""Of each reason in a round's record, which may hold one for every agent of the cohort."""
REASONS_TOLD = 3


class RoundPhase(StrEnum):
    """Where a round stands."""

    PREPARING = "preparing"
    COLLECTING = "collecting"
    AGGREGATING = "aggregating"
    COMMITTING = "committing"
    ENDED_PHASES = "ended"


class Verdict(StrEnum):
    """What can be done with a round now."""

    WAIT = "wait"
    CLOSE = "close"
    FAIL = "fail"


@dataclass(slots=True)
class RoundProgress:
    """Who was asked, and what has come of it.

    An agent of the cohort is fetching (its update is on its way), here (it waits to be folded),
    counted or refused; or nothing is known of it yet.
    """

    order: OpenRound
    opened: float
    phase: RoundPhase = RoundPhase.PREPARING
    late: bool = False
    offers: dict[str, Offer] = field(default_factory=dict)
    fetching: set[str] = field(default_factory=set)
    here: set[str] = field(default_factory=set)
    counted: dict[str, Contributor] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """The plan it follows."""
        return self.order.plan

    @property
    def key(self) -> tuple[str, int]:
        """(job, task): what tells this round from all others."""
        return self.plan.job, self.plan.task

    @property
    def weights(self) -> float:
        """The sum of the weights of what has counted."""
        return sum(self.weight(c.examples) for c in self.counted.values())

    @property
    def waiting(self) -> list[str]:
        """Agents whose offer was taken and who have not been told what became of it."""
        return sorted(self.offers)

    def has(self, agent: str) -> bool:
        """Tell whether its update is here, or on its way."""
        return agent in self.fetching or agent in self.here or agent in self.counted

    def weight(self, examples: int) -> float:
        """What an update with so many examples weighs."""
        return float(examples) if self.order.weighted else 1.0

    def objection(self, agent: str, offer: Offer) -> str | None:
        """Say why an offer cannot count whatever its bytes are; None: it may."""
        if agent not in self.plan.cohort:
            return "not on this round's cohort"
        if agent in self.refused:
            return self.refused[agent]
        if self.late:
            return "it came after the deadline"
        if offer.base != self.plan.base.version:
            return f"started from version {offer.base}, not {self.plan.base.version}"
        if offer.round != self.plan.round:
            return f"for round {offer.round}, not {self.plan.round}"
        return impossible_metric(offer.metrics) or None

    def refuse(self, agent: str, reason: str) -> bool:
        """Let an agent of the cohort not count; False: it has counted, or is not on it."""
        if agent not in self.plan.cohort or agent in self.counted or agent in self.here:
            return False
        self.fetching.discard(agent)
        self.offers.pop(agent, None)
        self.refused.setdefault(agent, reason)
        return True

    def count(self, agent: str) -> None:
        """Let an update that was folded count."""
        offer = self.offers[agent]
        self.here.discard(agent)
        self.counted[agent] = Contributor(
            agent=agent,
            task=self.plan.task,
            examples=offer.examples,
            update=offer.update.digest,
            metrics=offer.metrics,
        )

    def verdict(self) -> Verdict:
        """Close when all have settled, or at the deadline with a quorum; fail without hope."""
        if self.phase not in (RoundPhase.PREPARING, RoundPhase.COLLECTING):
            return Verdict.WAIT
        possible = len(self.plan.cohort) - len(self.refused)
        if possible < self.plan.quorum:
            return Verdict.FAIL
        if len(self.counted) == possible:
            return Verdict.CLOSE
        if not self.late or self.here:  # what is here at the deadline still counts
            return Verdict.WAIT
        return Verdict.CLOSE if len(self.counted) >= self.plan.quorum else Verdict.FAIL

    def shortfall(self) -> str:
        """Say how many updates there are, how many are needed, and why others were refused."""
        asked = len(self.plan.cohort)
        told = f"{len(self.counted)} of {asked} updates, {self.plan.quorum} are needed"
        why = Counter(reason[:MAX_REFUSAL_CHARACTERS] for reason in self.refused.values())
        told += "".join(f"; {n} refused: {r}" for r, n in why.most_common(REASONS_TOLD))
        if unheard := asked - len(self.counted) - len(self.refused):
            told += f"; {unheard} {'sent none in time' if self.late else 'not waited for'}"
        return told

    def record(self) -> RoundRecord:
        """Write down how the round went; a large cohort's details are cut to fit a message."""
        plan = self.plan
        contributors = tuple(self.counted[a] for a in plan.cohort if a in self.counted)
        return RoundRecord(
            job=plan.job,
            round=plan.round,
            task=plan.task,
            model=plan.base.model,
            parent=plan.base.version,
            spec=plan.base.spec,
            weighted=self.order.weighted,
            contributors=tuple(map(self._cut, contributors)),
            refusals=tuple(
                Refusal(
                    agent=a,
                    reason=self.refused.get(a, "no update by the deadline")[
                        :MAX_REFUSAL_CHARACTERS
                    ],
                )
                for a in plan.cohort
                if a not in self.counted
            ),
            metrics=sendable(as_training_metrics(mean_metrics(contributors))),
            seconds=dict(self.seconds),
        )

    def _cut(self, contributor: Contributor) -> Contributor:
        """Keep as many of its own figures as leave room for everybody's."""
        most = METRICS_TOGETHER // len(self.counted)
        if len(contributor.metrics) <= most:
            return contributor
        return replace(contributor, metrics=dict(islice(contributor.metrics.items(), most)))
