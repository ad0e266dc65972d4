"""The facts of one round: who is on the roster, who has counted, whether it may close. Pure."""

from dataclasses import dataclass, field
from enum import StrEnum

from fedbus.wire.messages import Offer, OpenRound
from fedbus.wire.values import Contributor, Plan, Refusal, RoundRecord


class Phase(StrEnum):
    """Where a round stands."""

    PREPARING = "preparing"
    COLLECTING = "collecting"
    AGGREGATING = "aggregating"
    COMMITTING = "committing"
    ENDED = "ended"


class Verdict(StrEnum):
    """What can be done with a round now."""

    WAIT = "wait"
    CLOSE = "close"
    FAIL = "fail"


@dataclass(slots=True)
class Round:
    """Who was asked, and what has come of it.

    An agent of the roster is fetching (its update is on its way), here (it waits to be folded), counted
    or refused; or nothing is known of it yet.
    """

    order: OpenRound
    opened: float
    phase: Phase = Phase.PREPARING
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
        """Agents that hold an update for this round and have not been told what became of it."""
        return sorted({*self.offers} - {*self.refused})

    def weight(self, examples: int) -> float:
        """What an update with so many examples weighs."""
        return float(examples) if self.order.weighted else 1.0

    def objection(self, agent: str, offer: Offer) -> str | None:
        """Say why an offer cannot count whatever its bytes are; None: it may."""
        if agent not in self.plan.roster:
            return "not on this round's roster"
        if offer.base != self.plan.base.version:
            return f"started from version {offer.base}, not {self.plan.base.version}"
        if offer.round != self.plan.round:
            return f"for round {offer.round}, not {self.plan.round}"
        return self.refused.get(agent)

    def refuse(self, agent: str, reason: str) -> bool:
        """Let an agent of the roster not count; False: it has counted, or is not on it."""
        if agent not in self.plan.roster or agent in self.counted or agent in self.here:
            return False
        self.fetching.discard(agent)
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
        """Close when all have settled, or at the deadline with a quorum; fail without hope of one."""
        if self.phase not in (Phase.PREPARING, Phase.COLLECTING):
            return Verdict.WAIT
        possible = len(self.plan.roster) - len(self.refused)
        if possible < self.plan.quorum:
            return Verdict.FAIL
        if len(self.counted) == possible:
            return Verdict.CLOSE
        if not self.late or self.here:  # what is here at the deadline still counts
            return Verdict.WAIT
        return Verdict.CLOSE if len(self.counted) >= self.plan.quorum else Verdict.FAIL

    def record(self) -> RoundRecord:
        """Write down how the round went."""
        plan = self.plan
        return RoundRecord(
            job=plan.job,
            round=plan.round,
            task=plan.task,
            model=plan.base.model,
            parent=plan.base.version,
            card=plan.base.card,
            weighted=self.order.weighted,
            contributors=tuple(self.counted[a] for a in plan.roster if a in self.counted),
            refusals=tuple(
                Refusal(agent=a, reason=self.refused.get(a, "no update by the deadline"))
                for a in plan.roster
                if a not in self.counted
            ),
            metrics=self._mean_metrics(),
            seconds=dict(self.seconds),
        )

    def _mean_metrics(self) -> dict[str, float]:
        """Average each metric over those who measured it, weighted by their examples."""
        sums: dict[str, tuple[float, int]] = {}
        for contributor in self.counted.values():
            for name, value in contributor.metrics.items():
                total, examples = sums.get(name, (0.0, 0))
                sums[name] = (
                    total + value * contributor.examples,
                    examples + contributor.examples,
                )
        return {name: total / examples for name, (total, examples) in sums.items()}
