"""Planning of a round: its cohort, its collector and the key of its noise. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from fedbus.core.actions import Action, Ask, Cancel, Note, WakeAt
from fedbus.privacy.ledger_entries import is_entered_with_plan, trains_on_features
from fedbus.wire.documents import AgentFacts
from fedbus.wire.messages import JobLoaded, LoadJob, PlanRefused, StorePlan
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus_controller import keys
from fedbus_controller.job_context import JobContext, Services
from fedbus_controller.job_progress import JobProgress
from fedbus_controller.mistnet.feature_planning import FeaturePlanner
from fedbus_controller.published_reasons import ControllerSentence
from fedbus_controller.rounds.cohort_planning import CohortPlanner, NoPlan, PlanPostponed
from fedbus_controller.rounds.name_agreement import AgreeingAgents
from fedbus_controller.rounds.noise_keys import choose_noise_key
from fedbus_controller.rounds.participations import Participations
from fedbus_controller.rounds.protected_rounds import (
    next_max_examples,
    next_ranges,
    without_collector,
)

PLAN_STORAGE_SECONDS = 30.0
"""Time limit for the storage of a plan, after which the job is loaded again."""

PlanningResult: TypeAlias = Plan | NoPlan


class RoundPlanner:
    """Plans the rounds of one job.

    Attributes:
        left_out: The agents that the last planning left out because of their names, and why; or why
            the job has no evaluators.
        participations: What the job's ledger says about each agent.
        features: The planner of a MistNet job's rounds; None for another job.
    """

    def __init__(
        self, context: JobContext, services: Services, loaded: JobLoaded, now: float
    ) -> None:
        self.left_out = ""
        terms, spent, of = context.terms, loaded.privacy, loaded.participations
        self.participations = Participations(terms, spent, of)
        self._context = context
        self._services = services
        self._cohorts = CohortPlanner(context, services, loaded, self.participations, now)
        self.features: FeaturePlanner | None = None
        if context.feature_terms is not None:
            self.features = FeaturePlanner(context, services.fleet, loaded)
        self.begin = self._cohorts.begin
        self._noise_key = None if loaded.plan is None else loaded.plan.noise_key
        self._shared_tensors = loaded.shared_tensors

    def record(self, plan: Plan) -> None:
        """Record a stored plan: who was selected in which round, and the key of the job's noise."""
        self._cohorts.record(plan)
        self._noise_key = plan.noise_key

    def plan(self, progress: JobProgress, now: float) -> PlanningResult:
        """Return a plan of the next round as soon as there are enough agents and a collector."""
        context, round_, task = self._context, progress.rounds + 1, progress.task + 1
        terms, cohorts = context.terms, self._cohorts
        candidates = cohorts.candidates(progress.newest, now)
        self.left_out = candidates.agreed.explanation or cohorts.without_evaluators
        fleet = self._services.fleet
        stated = self.collectors(now)
        if not stated:
            return PlanPostponed(ControllerSentence(self._without_collector(now)))
        key = choose_noise_key(terms, stated, self._noise_key, fleet.without_noise_key(now))
        if key.trouble:
            return PlanPostponed(ControllerSentence(key.trouble))
        if self.features is not None and self.features.features:
            return self.features.plan(progress, stated, now)
        if self.participations.outdated:
            waiting = "waiting for the repository to tell what the job has spent"
            return PlanPostponed(ControllerSentence(waiting))
        rng = context.rng("cohort", task)
        cohort = (
            cohorts.select(candidates, rng, now)
            if terms is None or not context.samples_in_secret
            else cohorts.draw(terms, candidates, round_, task, now)
        )
        if not isinstance(cohort, tuple):
            return cohort
        plan = Plan(
            job=context.job,
            round=round_,
            task=task,
            base=progress.newest,
            collector=rng.choice([*stated]),
            cohort=cohort,
            quorum=cohorts.quorum,
            deadline_seconds=context.file.round.deadline_seconds,
            state=progress.state_of_strategy,
            noise_key=key.digest,
        )
        return self._with_fixed_point(plan, dict(candidates.selectable))

    def collectors(self, now: float) -> dict[str, str | None]:
        """Return the online collectors that can collect the job, each with its noise key."""
        fleet, key = self._services.fleet, self._context.encryption_key
        found = fleet.noise_keys(now)
        if key is None:
            return found
        return {node: each for node, each in found.items() if fleet.encryption_key(node) == key}

    def _without_collector(self, now: float) -> str:
        fleet, key = self._services.fleet, self._context.encryption_key
        online = fleet.collectors(now)
        if key is None or not online:
            return "waiting for a collector"
        return without_collector(key, {node: fleet.encryption_key(node) for node in online})

    def _with_fixed_point(self, plan: Plan, facts: Mapping[str, AgentFacts]) -> Plan:
        """Add what agents that encrypt or mask must agree on."""
        strategy, tensors = self._context.strategy, self._shared_tensors
        if strategy.fixed_point is None:
            return plan
        return replace(
            plan,
            ranges=next_ranges(strategy.fixed_point, plan.state, tensors),
            max_examples=next_max_examples(
                strategy, (facts[agent].examples for agent in plan.cohort)
            ),
        )

    def store(self, plan: Plan, now: float) -> Iterator[Action]:
        """Ask the repository to store a plan, and wake after PLAN_STORAGE_SECONDS."""
        facts = {"job": plan.job, "round": plan.round, "task": plan.task}
        yield Note("round_decided", {**facts, "at": now})
        store = StorePlan(epoch=self._context.epoch, plan=plan)
        yield Ask(keys.PlanStorage(plan.job), self._services.repository, store)
        yield WakeAt(keys.PlanStorageDeadline(plan.job), now + PLAN_STORAGE_SECONDS)

    def committed(self, record: RoundRecord, plan: Plan | None) -> Iterator[Action]:
        """Add a committed round to the copy of the ledger; load it if the two do not agree."""
        terms, contributors = self._context.terms, [each.agent for each in record.contributors]
        if terms is None:
            return
        if self.features is not None and plan is not None:
            self.features.committed(plan)
        if plan is None or plan.task != record.task:  # planned by another controller
            yield from self.distrust_ledger()
            return
        if trains_on_features(plan, terms):
            return
        agents = plan.cohort if is_entered_with_plan(terms) else contributors
        self.participations.add(agents, record.privacy)
        if self.participations.outdated:
            yield from self.distrust_ledger()

    def refused(self, refused: PlanRefused, plan: Plan) -> str:
        """Take over what a refused plan tells; return why the job is done, or "" if it is not."""
        if refused.entries:  # else the ledger is empty, and so is the copy
            self.participations.load(refused.entries, refused.participations)
        match refused.kind:
            case "ledger-full":  # of both the repository composes a sentence from public figures
                return ControllerSentence(refused.reason)
            case "budget":
                more = self.participations.lower_limit(plan.cohort)
                return "" if more else ControllerSentence(refused.reason)
            case "cohort" | "key":
                return ""

    def distrust_ledger(self) -> Iterator[Action]:
        """Ask what the ledger says about a private job: noise of a failed round may be drawn."""
        job = self._context.job
        if self._context.terms is not None:
            self.participations.expire()
            load = LoadJob(epoch=self._context.epoch, job=job)
            yield Ask(keys.LedgerLoading(job), self._services.repository, load)

    def ledger_loaded(self, loaded: JobLoaded) -> Iterator[Action]:
        """Take over what the repository's ledger says; the next planning attempt uses it."""
        yield Cancel(keys.LedgerLoading(self._context.job))
        entries = 0 if loaded.privacy is None else loaded.privacy.entries
        self.participations.load(entries, loaded.participations)

    def evaluators(self, now: float) -> AgreeingAgents:
        """Return the online agents that may evaluate the job's versions."""
        return self._cohorts.evaluators(now)
