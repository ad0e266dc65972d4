"""Planning of MistNet's rounds: which agent trains, and on whose features. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from fedbus.jobs.eligibility import TrainingRequirements
from fedbus.text import counted
from fedbus.wire.documents import AgentFacts
from fedbus.wire.features import AgentFeatures
from fedbus.wire.messages import JobLoaded
from fedbus.wire.round_records import Plan
from fedbus_controller.fleet import Fleet, Liveness
from fedbus_controller.job_context import JobContext
from fedbus_controller.job_progress import JobProgress
from fedbus_controller.published_reasons import ControllerSentence
from fedbus_controller.rounds.cohort_planning import PlanPostponed

_MIB: Final = 2**20


class FeaturePlanner:
    """Plans the rounds after the features were gathered.

    The agent that trained last trains again, on the features that it has on its disk. Another one
    must fetch them: those of agents that are online, the smallest first, as far as half of its free
    storage holds them. So a blob of an absurd size, whose agent may be hostile, is left out.

    Attributes:
        features: What the agents have sent; none before they were gathered.
    """

    def __init__(self, context: JobContext, fleet: Fleet, loaded: JobLoaded) -> None:
        plan = loaded.plan
        self.features: tuple[AgentFeatures, ...] = () if plan is None else plan.features
        self._trainers = context.feature_trainers
        self._context = context
        self._fleet = fleet
        self._needs = loaded.needs
        trained = plan is not None and loaded.rounds >= plan.round
        self._last = plan if trained and self.features else None
        self._failed = ""

    def gathered(self, features: Mapping[str, AgentFeatures]) -> None:
        """Take over the features that the agents have sent."""
        self.features = tuple(features[agent] for agent in sorted(features))

    def committed(self, plan: Plan) -> None:
        """Note that the agent of a plan has trained: it has the plan's features."""
        self._last, self._failed = plan, ""

    def failed(self, plan: Plan) -> None:
        """Note that a plan's round failed: another agent is tried first."""
        self._failed = plan.cohort[0] if plan.features else ""

    def plan(
        self, progress: JobProgress, collectors: Iterable[str], now: float
    ) -> Plan | PlanPostponed:
        """Return a plan whose cohort is one agent that trains on the features."""
        able = self._able(progress, now)
        if not able:
            nobody = (
                "waiting for an agent that trains on the features: none of "
                "privacy-mechanisms.mistnet.trainers is online and able to"
            )
            return PlanPostponed(ControllerSentence(nobody))
        quorum, most = self._context.file.round.quorum, 0
        for trainer, facts in able:
            features = self._features_for(trainer, facts, now)
            if len(features) >= quorum:
                return self._plan_of(trainer, features, progress, collectors)
            most = max(most, len(features))
        few = (
            f"waiting for agents that serve their features: {counted(most, 'agent')} of "
            f"{len(self.features)} {'is' if most == 1 else 'are'} online, with as many bytes as "
            f"the agent that trains can store; {quorum} needed"
        )
        return PlanPostponed(ControllerSentence(few))

    def _plan_of(
        self,
        trainer: str,
        features: tuple[AgentFeatures, ...],
        progress: JobProgress,
        collectors: Iterable[str],
    ) -> Plan:
        task = progress.task + 1
        return Plan(
            job=self._context.job,
            round=progress.rounds + 1,
            task=task,
            base=progress.newest,
            collector=self._context.rng("cohort", task).choice([*collectors]),
            cohort=(trainer,),
            quorum=1,
            deadline_seconds=self._context.file.round.deadline_seconds,
            state=progress.state_of_strategy,
            features=features,
        )

    def _able(self, progress: JobProgress, now: float) -> list[tuple[str, AgentFacts]]:
        """Return the agents that can train: the one that trained last, then in the job's order.

        One whose last round failed comes at the end.
        """
        context, needs = self._context, self._needs
        requirements = TrainingRequirements(
            progress.newest.weights.size,
            context.file.trainer,
            None if needs is None else replace(needs, input={}),  # its own data do not matter
            context.params,
        )
        able = dict(self._fleet.eligible(requirements, now).eligible)
        last = () if self._last is None else self._last.cohort
        wanted = dict.fromkeys(name for name in (*last, *self._trainers) if name in able)
        return [(name, able[name]) for name in sorted(wanted, key=self._failed.__eq__)]

    def _features_for(
        self, trainer: str, facts: AgentFacts, now: float
    ) -> tuple[AgentFeatures, ...]:
        if self._last is not None and self._last.cohort == (trainer,):
            return self._last.features
        room, fitting = facts.storage_mb * _MIB // 2, set[str]()
        for each in sorted(self.features, key=lambda each: each.features.size):
            room -= each.features.size
            if room >= 0 and self._fleet.liveness(each.agent, now) is Liveness.ONLINE:
                fitting.add(each.agent)
        return tuple(each for each in self.features if each.agent in fitting)
