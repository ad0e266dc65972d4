"""Facts of one round: its offers, updates and refusals, and whether it may close. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from fedbus.compression import loses_numbers
from fedbus.core.actions import Action, Ask, Send
from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.plugins import UpdateFacts
from fedbus.wire.encryption import Ranges
from fedbus.wire.messages import LookUp, Offer, OpenRound, Receipt
from fedbus.wire.round_records import Contributor, Plan
from fedbus.wire.strategies import hides_agents
from fedbus_collector.aggregation.next_ranges import next_ranges
from fedbus_collector.keys import UpdateLookup

MAX_REFUSAL_CHARACTERS = 300
"""Length of each reason in a round's record, which may hold one for every agent of the cohort."""
SHOWN_REASONS = 3
"""Number of distinct refusal reasons in a message, the most frequent first."""


class RoundPhase(StrEnum):
    """Phase of a round at its collector."""

    PREPARING = "preparing"
    COLLECTING = "collecting"
    AGREEING = "agreeing"
    RECORDING = "recording"
    UNMASKING = "unmasking"
    AGGREGATING = "aggregating"
    COMMITTING = "committing"
    ENDED = "ended"


CLOSING_PHASES: Final = (RoundPhase.AGREEING, RoundPhase.RECORDING, RoundPhase.UNMASKING)
"""Phases of the closing stages."""


class CloseDecision(StrEnum):
    """Whether a round waits for more updates, closes with an aggregate, or fails."""

    WAIT = "wait"
    CLOSE = "close"
    FAIL = "fail"


@dataclass(slots=True)
class RoundProgress:
    """The request to open a round, and the state of each agent of its cohort.

    `least_updates` is the number that the strategy's aggregator needs; 0 before it was made.

    An agent is in at most one of `fetching` (its update is being transferred), `arrived` (its
    update waits to be folded), `counted` and `refused`; in none of them before its first answer.
    """

    request: OpenRound
    opened: float
    phase: RoundPhase = RoundPhase.PREPARING
    deadline_passed: bool = False
    offers: dict[str, Offer] = field(default_factory=dict)
    fetching: set[str] = field(default_factory=set)
    arrived: set[str] = field(default_factory=set)
    counted: dict[str, Contributor] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    least_updates: int = 0

    @property
    def plan(self) -> Plan:
        """The plan of the round."""
        return self.request.plan

    @property
    def key(self) -> tuple[str, int]:
        """(job, task), which identifies the round."""
        return self.plan.job, self.plan.task

    @property
    def state_round(self) -> int:
        """The number of this round since the strategy's state began, 1 for the first."""
        return 1 if self.plan.state is None else self.plan.state.rounds + 1

    @property
    def state_numbers(self) -> Mapping[str, float]:
        """The numbers of the strategy's state before this round."""
        return {} if self.plan.state is None else self.plan.state.numbers

    @property
    def hides_agents(self) -> bool:
        """Whether no figure of a single agent may leave this node; see `hides_agents`."""
        return hides_agents(self.request.strategy)

    @property
    def hides_metrics(self) -> bool:
        """Whether a contributor's metrics are left out: encrypted or masked updates have none."""
        return self.hides_agents or self.request.strategy.fixed_point is not None

    @property
    def next_ranges(self) -> Ranges:
        """The ranges of the next round's fixed-point numbers; none without such numbers."""
        fixed_point = self.request.strategy.fixed_point
        if fixed_point is None:
            return ()
        needed = (self.offers[agent].ranges for agent in self.counted_agents)
        return next_ranges(self.plan.ranges, needed, fixed_point)

    @property
    def counted_agents(self) -> tuple[str, ...]:
        """The agents whose updates count, in the order of the cohort."""
        return tuple(agent for agent in self.plan.cohort if agent in self.counted)

    @property
    def awaiting_receipt(self) -> list[str]:
        """Agents with an accepted offer, to which no receipt was sent."""
        return sorted(self.offers)

    def has_update(self, agent: str) -> bool:
        """Return whether an agent's update is being transferred, has arrived or is counted."""
        return agent in self.fetching or agent in self.arrived or agent in self.counted

    def facts_of(self, agent: str) -> UpdateFacts:
        """Return the facts of an offered update; of its training, those that the strategy needs."""
        offer, wanted = self.offers[agent], self.request.strategy.facts
        return UpdateFacts(
            agent=agent,
            examples=offer.examples,
            steps=offer.facts.steps if "steps" in wanted else None,
            base_loss=offer.facts.base_loss if "base_loss" in wanted else None,
            norm_bit=offer.facts.norm_bit if "norm_bit" in wanted else None,
        )

    def refuse(self, agent: str, reason: str) -> bool:
        """Exclude an agent; False if it is not in the cohort, or its update has arrived."""
        if agent not in self.plan.cohort or agent in self.counted or agent in self.arrived:
            return False
        self.fetching.discard(agent)
        self.offers.pop(agent, None)
        self.refused.setdefault(agent, reason)
        return True

    def count(self, agent: str) -> None:
        """Count an update that was folded."""
        offer = self.offers[agent]
        self.arrived.discard(agent)
        self.counted[agent] = Contributor(
            agent=agent,
            task=self.plan.task,
            examples=offer.examples,
            update=offer.update.digest,
            metrics={} if self.hides_metrics else offer.metrics,
            facts=offer.facts,
            energy=None if self.hides_metrics else offer.energy,
        )

    def close_decision(self) -> CloseDecision:
        """Decide whether to close: once no update is outstanding, or at the deadline.

        The round fails as soon as its quorum, or what its aggregator needs, cannot be reached.
        """
        if self.phase not in (RoundPhase.PREPARING, RoundPhase.COLLECTING):
            return CloseDecision.WAIT
        possible = len(self.plan.cohort) - len(self.refused)
        needed = max(self.plan.quorum, self.least_updates)
        if possible < needed:
            return CloseDecision.FAIL
        if len(self.counted) == possible:
            return CloseDecision.CLOSE
        if not self.deadline_passed or self.arrived:  # an update that arrived in time counts
            return CloseDecision.WAIT
        return CloseDecision.CLOSE if len(self.counted) >= needed else CloseDecision.FAIL

    def shortfall(self) -> str:
        """Describe which updates are missing for the quorum or the aggregator, and why.

        A private job publishes no reason: it may hold a figure of a single agent's update.
        """
        cohort = len(self.plan.cohort)
        text = f"{len(self.counted)} of {cohort} updates, {self.plan.quorum} are needed"
        if self.least_updates > self.plan.quorum:
            name, least = self.request.strategy.aggregator.id, self.least_updates
            text = f"{name} needs {least} updates, {len(self.counted)} of {cohort} came"
        refused = [reason[:MAX_REFUSAL_CHARACTERS] for reason in self.refused.values()]
        reasons = Counter(refused)
        if self.hides_agents and refused:
            reasons = Counter({"the reason is in the collector's log": len(refused)})
        text += "".join(f"; {n} left out: {r}" for r, n in reasons.most_common(SHOWN_REASONS))
        if missing := cohort - len(self.counted) - len(self.refused):
            how = "sent none in time" if self.deadline_passed else "not waited for"
            text += f"; {missing} {how}"
        return text

    @property
    def agents_keep_arrays(self) -> bool:
        """Whether agents may keep arrays of their own, which a wrong `drop` would lose.

        Those of an objective, or what compression left out of their updates.

        An earlier process at this collector may have had the round committed before it was killed.
        So only the repository can tell that an update does not count.
        """
        strategy = self.request.strategy
        return strategy.objective is not None or loses_numbers(strategy.compression)

    def refusal_receipt(self, agent: str, reason: str) -> Action:
        """Notify an agent that its update does not count, or ask the repository whether it does."""
        if not self.agents_keep_arrays:
            return self.receipt(agent, "drop", reason)
        job, task = self.key
        look_up = LookUp(job=job, agent=agent, task=task)
        return Ask(UpdateLookup(job, task, agent), self.plan.base.source, look_up)

    def receipt(self, agent: str, verdict: Literal["stored", "drop"], reason: str) -> Send:
        """Build the receipt for an agent's update; a stored one needs no reason."""
        why = "" if verdict == "stored" else reason[:MAX_TEXT_CHARACTERS]
        job, task = self.key
        return Send(agent, Receipt(job=job, task=task, verdict=verdict, reason=why))

    def log_facts(self, **more: object) -> dict[str, object]:
        """Return the fields that identify the round in log events, and `more`."""
        plan = self.plan
        return {"job": plan.job, "round": plan.round, "task": plan.task, **more}
