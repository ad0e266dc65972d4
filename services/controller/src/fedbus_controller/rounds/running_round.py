"""A running round: its messages to the collector and the cohort, until the round ends. Pure."""

from collections.abc import Iterator
from dataclasses import replace

from fedbus.core.actions import Action, Ask, Cancel, Note
from fedbus.limits import MAX_INLINE_WEIGHTS_BYTES
from fedbus.text import listed
from fedbus.wire.messages import Dismiss, Dismissed, OpenRound, RoundOpened, TaskTaken, TrainTask
from fedbus.wire.round_records import Plan
from fedbus.wire.strategies import StepLimit
from fedbus_controller import keys
from fedbus_controller.fleet import Fleet, Liveness
from fedbus_controller.job_context import JobContext
from fedbus_controller.published_reasons import ControllerSentence

MAX_INLINE_BASES_BYTES = 4 * 2**20
"""Size of the bases inside the tasks of one cohort, together."""
GRACE_SECONDS = 30.0
"""Time after a round's deadline, after which a silent collector is asked again."""


class RunningRound:
    """One round, from the storage of its plan to its end.

    The weights of a small `base` are sent inside the tasks, which saves each agent a fetch.
    """

    def __init__(
        self, plan: Plan, context: JobContext, fleet: Fleet, now: float, base: bytes | None = None
    ) -> None:
        self.plan = plan
        self._context = context
        self._fleet = fleet
        self._collector_asked_at = now
        self._members = context.expected_members(len(plan.cohort))
        self._inline_up_to = min(MAX_INLINE_WEIGHTS_BYTES, MAX_INLINE_BASES_BYTES // self._members)
        fits = base is not None and len(base) <= self._inline_up_to
        self._inline_base = base if fits else None
        # Agents train from the smaller blob only if the job asks for it, and they must fetch one.
        thin = bool(context.strategy.download) and not fits
        self._base = plan.base if thin else plan.base.whole
        self._dismissed: dict[str, None] = {}

    def open(self, now: float) -> Iterator[Action]:
        """Ask the collector to open the round, and the cohort to train."""
        plan = self.plan
        facts = {"round": plan.round, "task": plan.task}
        if not self._context.samples_in_secret:
            facts["agents"] = len(plan.cohort)
        yield Note("round_planned", {"job": self._context.job, **facts, "at": now})
        yield self._ask_collector()
        for agent in plan.cohort:
            yield self._ask_agent(agent)

    def answered(
        self, sender: str, answer: TaskTaken | RoundOpened | Dismissed
    ) -> Iterator[Action]:
        """Stop the ask that was answered; ignore answers for another task or incarnation."""
        job = self._context.job
        match answer:
            case _ if answer.task != self.plan.task:
                pass
            case TaskTaken():
                yield Cancel(keys.TrainingRequest(job, sender))
            case RoundOpened(incarnation=incarnation) if sender == self.plan.collector:
                if incarnation == self._fleet.incarnation(sender):
                    yield Cancel(keys.RoundOpening(job))
            case Dismissed(agents=agents) if sender == self.plan.collector:
                for agent in agents:
                    yield Cancel(keys.DismissalRequest(job, agent))

    def node_restarted(self, node: str) -> Iterator[Action]:
        """Ask a restarted collector or agent again.

        A collector has also lost its refusals. So its cohort is asked again: agents without an
        update decline, the others offer at once.
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

    def check_liveness(self, now: float) -> Iterator[Action]:
        """Dismiss lost agents; ask a collector again that is silent after the deadline."""
        for agent in self.plan.cohort:
            if agent not in self._dismissed and self._fleet.liveness(agent, now) is Liveness.LOST:
                self._dismissed[agent] = None
                yield Cancel(keys.TrainingRequest(self._context.job, agent))
                yield self._ask_dismissal(agent)
        if now > self._collector_asked_at + self.plan.deadline_seconds + GRACE_SECONDS:
            self._collector_asked_at = now
            yield self._ask_collector()

    def collector_lost(self, now: float) -> bool:
        """Return whether the collector is lost."""
        return self._fleet.liveness(self.plan.collector, now) is Liveness.LOST

    def missing_agents(self, now: float) -> str:
        """Describe the lost and silent agents, and the quorum; "" if there are none.

        The job's state has this text: with a privacy mechanism it names no agent, and if only
        secret cohorts keep the job's ε, it is "".
        """
        if self._context.samples_in_secret:
            return ""
        lost, cohort = sorted(self._dismissed), self.plan.cohort
        silent = [
            agent
            for agent in sorted(set(cohort) - set(lost))
            if self._fleet.liveness(agent, now) is not Liveness.ONLINE
        ]
        parts = [
            f"{len(names)} of {len(cohort)} agents {'is' if len(names) == 1 else 'are'} {how}"
            + (f" ({listed(names)})" if self._context.terms is None else "")
            for names, how in ((lost, "lost"), (silent, "offline or silent"))
            if names
        ]
        needs = f"round {self.plan.round} needs {self.plan.quorum}"
        return ControllerSentence("; ".join([*parts, needs]) if parts else "")

    def close(self) -> Iterator[Action]:
        """Cancel all asks of the round."""
        job = self._context.job
        yield Cancel(keys.RoundOpening(job))
        for agent in self.plan.cohort:
            yield Cancel(keys.TrainingRequest(job, agent))
        for agent in self._dismissed:
            yield Cancel(keys.DismissalRequest(job, agent))

    def _ask_collector(self) -> Ask:
        context = self._context
        params = context.params_after(self.plan.state)
        request = OpenRound(
            epoch=context.epoch,
            plan=self.plan,
            strategy=context.strategy,
            step_limit=StepLimit(
                epochs=params.epochs,
                batch_size=params.batch_size,
                steps_per_epoch=params.steps_per_epoch,
            ),
        )
        return Ask(keys.RoundOpening(self._context.job), self.plan.collector, request)

    def _ask_agent(self, agent: str) -> Ask:
        plan, context = self.plan, self._context
        read = context.strategy.server_state
        seed = context.rng(agent, plan.task).getrandbits(48)
        task = TrainTask(
            epoch=context.epoch,
            job=context.job,
            task=plan.task,
            base=self._base,
            collector=plan.collector,
            params=replace(context.params_after(plan.state), round=plan.round, seed=seed),
            trainer=context.file.trainer,
            members=self._members,
            inline_up_to=self._inline_up_to,
            facts=context.strategy.facts,
            sections=context.strategy.sections,
            state_names=context.strategy.state if read else (),
            state=plan.state.arrays if read and plan.state is not None else None,
            privacy=context.terms,
            numbers=context.mechanism_numbers(plan.state),
            features=plan.features,
            feature_terms=context.feature_terms,
            encryption=context.strategy.encryption,
            masking=context.strategy.masking,
            ranges=plan.ranges,
            max_examples=plan.max_examples,
            compression=context.strategy.compression,
            frozen=None if plan.state is None else plan.state.frozen,
            measures_energy=context.strategy.measures_energy,
        )
        # Only the first message contains the base: a repetition should not cost the same again.
        first = replace(task, inline=self._inline_base) if self._inline_base is not None else None
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
