"""A stored plan at work: who is told what, and told again, until the round has ended. Pure."""

from collections.abc import Iterator
from dataclasses import replace

from fedbus.core.actions import Action, Ask, Cancel, Note
from fedbus.text import listed
from fedbus.wire.messages import Dismiss, Dismissed, OpenRound, RoundOpened, TaskTaken, TrainTask
from fedbus.wire.round_records import Plan
from fedbus_controller import keys
from fedbus_controller.fleet import Fleet, Liveness
from fedbus_controller.job_context import JobContext

INLINE_MOST = 16 * 1024
INLINE_TOGETHER = 4 * 2**20
GRACE_SECONDS = 30.0
"""Beyond its deadline, before a collector that says nothing is asked about the round again."""


class RunningRound:
    """One round, from the moment its plan is stored.

    A `base` that is small enough is told to the agents with their tasks: a fetch less for each.
    """

    def __init__(
        self, plan: Plan, context: JobContext, fleet: Fleet, now: float, base: bytes | None = None
    ) -> None:
        self.plan = plan
        self._context = context
        self._fleet = fleet
        self._told = now
        self._inline_up_to = min(INLINE_MOST, INLINE_TOGETHER // len(plan.cohort))
        rides = base is not None and len(base) <= self._inline_up_to
        self._base = base if rides else None
        self._dismissed: dict[str, None] = {}

    def open(self, now: float) -> Iterator[Action]:
        """Tell the collector and the cohort."""
        plan = self.plan
        facts = {"round": plan.round, "task": plan.task, "agents": len(plan.cohort)}
        yield Note("round_planned", {"job": self._context.job, **facts, "at": now})
        yield self._ask_collector()
        for agent in plan.cohort:
            yield self._ask_agent(agent)

    def answered(
        self, sender: str, answer: TaskTaken | RoundOpened | Dismissed
    ) -> Iterator[Action]:
        """Ask no more what was answered; what answers another round, or another life, does not."""
        job = self._context.job
        match answer:
            case _ if answer.task != self.plan.task:
                pass
            case TaskTaken():
                yield Cancel(keys.TrainingRequest(job, sender))
            case RoundOpened(incarnation=life) if sender == self.plan.collector:
                if life == self._fleet.incarnation(sender):
                    yield Cancel(keys.RoundOpening(job))
            case Dismissed(agents=agents) if sender == self.plan.collector:
                for agent in agents:
                    yield Cancel(keys.DismissalRequest(job, agent))
            case _:
                pass

    def reborn(self, node: str) -> Iterator[Action]:
        """Tell a new life of a node again what it has forgotten.

        A collector has also forgotten whose updates it refused: asked again, those agents say that
        they have nothing more to give, and the others offer at once.
        """
        if node == self.plan.collector:
            yield self._ask_collector()
            for agent in self._dismissed:
                yield self._ask_dismissal(agent)
            for agent in self.plan.cohort:
                if agent not in self._dismissed:
                    yield self._ask_agent(agent)
        elif node in self.plan.cohort and node not in self._dismissed:
            yield self._ask_agent(node)

    def watch(self, now: float) -> Iterator[Action]:
        """Let the collector wait no longer for agents that are lost."""
        for agent in self.plan.cohort:
            if agent not in self._dismissed and self._fleet.liveness(agent, now) is Liveness.LOST:
                self._dismissed[agent] = None
                yield Cancel(keys.TrainingRequest(self._context.job, agent))
                yield self._ask_dismissal(agent)
        if now > self._told + self.plan.deadline_seconds + GRACE_SECONDS:
            self._told = now
            yield self._ask_collector()

    def collector_lost(self, now: float) -> bool:
        """Tell whether nobody collects any more."""
        return self._fleet.liveness(self.plan.collector, now) is Liveness.LOST

    def lacks(self, now: float) -> str:
        """Say which agents of the cohort are lost or silent, and what the round needs; or ""."""
        lost, cohort = sorted(self._dismissed), self.plan.cohort
        silent = [
            agent
            for agent in sorted(set(cohort) - set(lost))
            if self._fleet.liveness(agent, now) is not Liveness.ONLINE
        ]
        said = [
            f"{len(names)} of {len(cohort)} agents {'is' if len(names) == 1 else 'are'} {how} "
            f"({listed(names)})"
            for names, how in ((lost, "lost"), (silent, "offline or silent"))
            if names
        ]
        needs = f"round {self.plan.round} needs {self.plan.quorum}"
        return "; ".join([*said, needs]) if said else ""

    def close(self) -> Iterator[Action]:
        """Ask nobody any more."""
        job = self._context.job
        yield Cancel(keys.RoundOpening(job))
        for agent in self.plan.cohort:
            yield Cancel(keys.TrainingRequest(job, agent))
        for agent in self._dismissed:
            yield Cancel(keys.DismissalRequest(job, agent))

    def _ask_collector(self) -> Ask:
        file = self._context.file
        order = OpenRound(
            epoch=self._context.epoch,
            plan=self.plan,
            aggregator=file.plugins.aggregator,
            weighted=file.round.weighted,
        )
        return Ask(keys.RoundOpening(self._context.job), self.plan.collector, order)

    def _ask_agent(self, agent: str) -> Ask:
        plan, context = self.plan, self._context
        seed = context.rng(agent, plan.task).getrandbits(48)
        task = TrainTask(
            epoch=context.epoch,
            job=context.job,
            task=plan.task,
            base=plan.base,
            collector=plan.collector,
            params=replace(context.params, round=plan.round, seed=seed),
            trainer=context.file.trainer,
            members=len(plan.cohort),
            inline_up_to=self._inline_up_to,
        )
        # Repeated, it comes without: what should not be said in full twice.
        first = replace(task, inline=self._base) if self._base is not None else None
        return Ask(keys.TrainingRequest(context.job, agent), agent, task, first)

    def _ask_dismissal(self, agent: str) -> Ask:
        dismiss = Dismiss(
            epoch=self._context.epoch,
            job=self._context.job,
            task=self.plan.task,
            agents=(agent,),
            reason="lost: no heartbeat",
        )
        return Ask(keys.DismissalRequest(self._context.job, agent), self.plan.collector, dismiss)
