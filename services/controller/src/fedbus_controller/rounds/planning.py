"""Who trains in the next round and who collects it: those who are there, by chance. Pure."""

from dataclasses import dataclass
from typing import TypeAlias

from fedbus.errors import FedbusError
from fedbus.jobs.eligibility import TrainingRequirements
from fedbus.plugins import AgentInfo
from fedbus.text import listed
from fedbus.wire.blobs import ModelRef
from fedbus.wire.documents import ModelNeeds
from fedbus.wire.round_records import Plan
from fedbus_controller.job_context import JobContext, Services
from fedbus_controller.rounds.name_agreement import AgreeingAgents, NameAgreement
from fedbus_controller.rounds.selection import CohortSelection, InvalidSelection, TooFewSelected

PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class PlanPostponed:
    """Somebody who is needed is not there yet."""

    why: str


@dataclass(frozen=True, slots=True)
class PlanImpossible:
    """Waiting would not help."""

    why: str


PlanningResult: TypeAlias = Plan | PlanPostponed | PlanImpossible


class RoundPlanner:
    """Make the plans of one job's rounds.

    For a while all the agents that the job wants are waited for; then its quorum is enough.
    """

    def __init__(
        self,
        context: JobContext,
        services: Services,
        needs: ModelNeeds | None,
        now: float,
        before: Plan | None = None,
    ) -> None:
        self.left_out = ""
        """Which agents were left out of the last round found, and why."""
        self._names = NameAgreement(needs, () if before is None else before.cohort)
        self._context = context
        self._services = services
        self._needs = needs
        self._since = now
        self._asked_in: dict[str, int] = {}
        wish = context.file.round
        self._selection = CohortSelection(context.file.plugins.selector, wish.agents, wish.quorum)

    def begin(self, now: float) -> None:
        """Have patience anew: another round is to be planned."""
        self._since = now

    def follow(self, plan: Plan) -> None:
        """Note who was asked in which round, for selectors that prefer those who have waited."""
        self._asked_in.update(dict.fromkeys(plan.cohort, plan.round))

    def find(self, base: ModelRef, round: int, task: int, now: float) -> PlanningResult:
        """Plan a round as soon as there are enough agents and a collector."""
        fleet, wish = self._services.fleet, self._context.file.round
        known = fleet.eligible(self._requirements(base), now)
        agreed = self._names.among(known.eligible)
        self.left_out = agreed.told
        agents = [
            AgentInfo(
                agent=name,
                last_selected=self._asked_in.get(name, 0),
                examples=facts.examples,
                load=fleet.load(name),
            )
            for name, facts in agreed.able
        ]
        collectors = fleet.collectors(now)
        patient = now < self._since + PATIENCE_SECONDS
        if not collectors:
            return PlanPostponed("waiting for a collector")
        if len(agents) < (wish.agents if patient else wish.quorum):
            there = len(known.eligible) + known.ineligible
            online = f"{there} {'is' if there == 1 else 'are'} online"
            why = f"{online}, {wish.agents} wanted, {wish.quorum} needed{known.reasons}"
            absent = fleet.absent(now)
            names = f"; offline: {listed(absent)}" if absent else ""
            names += f"; {agreed.told}" if agreed.told else ""
            return PlanPostponed(f"waiting for agents: {why}{names}")
        rng = self._context.rng("cohort", task)
        try:
            selector = self._services.selector(self._context.file.plugins.selector)
            cohort = self._selection.choose(selector, agents, rng, now)
        except TooFewSelected as short:
            return PlanPostponed(str(short))
        except InvalidSelection as wrong:
            return PlanImpossible(str(wrong))
        except FedbusError as missing:
            return PlanImpossible(f"selector {self._context.file.plugins.selector!r}: {missing}")
        self._names.hold([each for each in agreed.able if each[0] in cohort])
        return Plan(
            job=self._context.job,
            round=round,
            task=task,
            base=base,
            collector=rng.choice(collectors),
            cohort=cohort,
            quorum=wish.quorum,
            deadline_seconds=wish.deadline_seconds,
        )

    def evaluators(self, now: float) -> AgreeingAgents:
        """Find the evaluators that give classes and inputs the names that the job's agents do."""
        return self._names.among([*self._services.fleet.agents("evaluate", now)])

    def _requirements(self, base: ModelRef) -> TrainingRequirements:
        context = self._context
        return TrainingRequirements(
            base.weights.size, context.file.trainer, self._needs, context.params
        )
