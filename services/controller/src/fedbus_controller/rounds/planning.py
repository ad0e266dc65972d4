"""Planning of a round: its eligible agents, its cohort and its collector. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from fedbus.core.actions import Action, Ask, Note, WakeAt
from fedbus.errors import FedbusError
from fedbus.jobs.eligibility import TrainingRequirements
from fedbus.plugins import AgentInfo
from fedbus.text import listed
from fedbus.wire.documents import ModelNeeds
from fedbus.wire.messages import StorePlan
from fedbus.wire.round_records import Plan
from fedbus_controller import keys
from fedbus_controller.job_context import JobContext, Services
from fedbus_controller.job_progress import JobProgress
from fedbus_controller.rounds.cohort_selection import (
    CohortSelection,
    InvalidSelection,
    TooFewSelected,
)
from fedbus_controller.rounds.name_agreement import AgreeingAgents, NameAgreement

PATIENCE_SECONDS = 5.0
"""Time to wait for all wanted agents, before the quorum is enough."""
PLAN_STORAGE_SECONDS = 30.0
"""Time limit for the storage of a plan, after which the job is loaded again."""


@dataclass(frozen=True, slots=True)
class PlanPostponed:
    """No round can be planned yet: agents or a collector are missing."""

    reason: str


@dataclass(frozen=True, slots=True)
class PlanImpossible:
    """No round can be planned, and waiting would not help."""

    reason: str


PlanningResult: TypeAlias = Plan | PlanPostponed | PlanImpossible


class RoundPlanner:
    """Plans the rounds of one job.

    For PATIENCE_SECONDS a plan waits for all agents that the job wants; then its quorum is enough.
    `left_out` names the agents that the last planning left out because of their names, and why.
    """

    def __init__(
        self,
        context: JobContext,
        services: Services,
        needs: ModelNeeds | None,
        now: float,
        last_plan: Plan | None = None,
    ) -> None:
        self.left_out = ""
        self._names = NameAgreement(needs, () if last_plan is None else last_plan.cohort)
        self._context = context
        self._services = services
        self._needs = needs
        self._since = now
        self._last_selected: dict[str, int] = {}
        wanted = context.file.round
        self._selection = CohortSelection(
            context.file.plugins.selector, wanted.agents, wanted.quorum
        )

    def begin(self, now: float) -> None:
        """Start to plan another round: wait again for all wanted agents."""
        self._since = now

    def record(self, plan: Plan) -> None:
        """Record in which round agents were selected, for selectors that prefer others."""
        self._last_selected.update(dict.fromkeys(plan.cohort, plan.round))

    def plan(self, progress: JobProgress, now: float) -> PlanningResult:
        """Return a plan of the next round as soon as there are enough agents and a collector."""
        base, task = progress.newest, progress.task + 1
        fleet, context, wanted = self._services.fleet, self._context, self._context.file.round
        requirements = TrainingRequirements(
            base.weights.size, context.file.trainer, self._needs, context.params
        )
        known = fleet.eligible(requirements, now)
        agreed = self._names.check(known.eligible)
        self.left_out = agreed.explanation
        agents = [
            AgentInfo(
                agent=name,
                last_selected=self._last_selected.get(name, 0),
                examples=facts.examples,
                load=fleet.load(name),
            )
            for name, facts in agreed.agreeing
        ]
        collectors = fleet.collectors(now)
        waits_for_all = now < self._since + PATIENCE_SECONDS
        if not collectors:
            return PlanPostponed("waiting for a collector")
        if len(agents) < (wanted.agents if waits_for_all else wanted.quorum):
            count = len(known.eligible) + known.ineligible
            online = f"{count} {'is' if count == 1 else 'are'} online"
            why = f"{online}, {wanted.agents} wanted, {wanted.quorum} needed{known.reasons}"
            absent = fleet.absent(now)
            names = f"; offline: {listed(absent)}" if absent else ""
            names += f"; {agreed.explanation}" if agreed.explanation else ""
            return PlanPostponed(f"waiting for agents: {why}{names}")
        rng, name = context.rng("cohort", task), context.file.plugins.selector
        try:
            selector = self._services.selector(name)
            cohort = self._selection.select(selector, agents, rng, now)
        except TooFewSelected as error:
            return PlanPostponed(str(error))
        except InvalidSelection as error:
            return PlanImpossible(str(error))
        except FedbusError as error:
            return PlanImpossible(f"selector {name!r}: {error}")
        self._names.adopt([each for each in agreed.agreeing if each[0] in cohort])
        return Plan(
            job=context.job,
            round=progress.rounds + 1,
            task=task,
            base=base,
            collector=rng.choice(collectors),
            cohort=cohort,
            quorum=wanted.quorum,
            deadline_seconds=wanted.deadline_seconds,
            state=progress.state_of_strategy,
        )

    def store(self, plan: Plan, now: float) -> Iterator[Action]:
        """Ask the repository to store a plan, and wake after PLAN_STORAGE_SECONDS."""
        facts = {"job": plan.job, "round": plan.round, "task": plan.task}
        yield Note("round_decided", {**facts, "at": now})
        store = StorePlan(epoch=self._context.epoch, plan=plan)
        yield Ask(keys.PlanStorage(plan.job), self._services.repository, store)
        yield WakeAt(keys.PlanStorageDeadline(plan.job), now + PLAN_STORAGE_SECONDS)

    def evaluators(self, now: float) -> AgreeingAgents:
        """Return the online evaluators with the names of the job's agents."""
        return self._names.check([*self._services.fleet.agents("evaluate", now)])
