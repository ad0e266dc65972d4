"""Planning of MistNet's rounds: which agent trains, and on whose features. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fedbus.jobs.eligibility import TrainingRequirements
from fedbus.text import counted, listed
from fedbus.wire.features import AgentFeatures
from fedbus.wire.messages import JobLoaded
from fedbus.wire.round_records import Plan
from fedbus_controller.fleet import Fleet, Liveness
from fedbus_controller.job_context import JobContext
from fedbus_controller.job_progress import JobProgress
from fedbus_controller.rounds.cohort_planning import PlanPostponed


class FeaturePlanner:
    """Plans the rounds after the features were gathered.

    The agent that trained last trains again: it has the features on its disk. Another one must
    fetch them, so it trains on those of agents that are online.

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
        trained = plan is not None and plan.features and loaded.rounds >= plan.round
        self._last = plan.cohort[0] if plan is not None and trained else ""
        self._planned = ""

    def gathered(self, features: Mapping[str, AgentFeatures]) -> None:
        """Take over the features that the agents have sent."""
        self.features = tuple(features[agent] for agent in sorted(features))

    def committed(self) -> None:
        """Note that the agent of the last plan has trained: it has the features."""
        self._last = self._planned or self._last

    def plan(
        self, progress: JobProgress, collectors: Iterable[str], now: float
    ) -> Plan | PlanPostponed:
        """Return a plan whose cohort is one agent that trains on the features."""
        trainer = self._trainer(progress, now)
        if trainer is None:
            names = listed(self._trainers)
            return PlanPostponed(f"waiting for an agent that trains on the features: {names}")
        file, task = self._context.file, progress.task + 1
        features = self.features if trainer == self._last else self._online(now)
        if len(features) < file.round.quorum:
            online = counted(len(features), "agent")
            return PlanPostponed(
                f"waiting for agents that serve their features: {online} of {len(self.features)} "
                f"{'is' if len(features) == 1 else 'are'} online, {file.round.quorum} needed"
            )
        self._planned = trainer
        return Plan(
            job=self._context.job,
            round=progress.rounds + 1,
            task=task,
            base=progress.newest,
            collector=self._context.rng("cohort", task).choice([*collectors]),
            cohort=(trainer,),
            quorum=1,
            deadline_seconds=file.round.deadline_seconds,
            state=progress.state_of_strategy,
            features=features,
        )

    def _trainer(self, progress: JobProgress, now: float) -> str | None:
        """Return the agent that trained last if it can, else the first of the job's that can."""
        context, needs = self._context, self._needs
        requirements = TrainingRequirements(
            progress.newest.weights.size,
            context.file.trainer,
            None if needs is None else replace(needs, input={}),  # its own data do not matter
            context.params,
        )
        able = {name for name, _ in self._fleet.eligible(requirements, now).eligible}
        wanted = (self._last, *self._trainers)
        return next((name for name in wanted if name in able), None)

    def _online(self, now: float) -> tuple[AgentFeatures, ...]:
        return tuple(
            each
            for each in self.features
            if self._fleet.liveness(each.agent, now) is Liveness.ONLINE
        )
