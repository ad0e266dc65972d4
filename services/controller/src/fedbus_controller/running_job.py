"""A running job, from its acceptance to its end: plan, round, evaluation, stop condition. Pure.

A plan is stored before any agent is asked; so a restarted controller asks the same agents for the
same tasks again. The collector reports how a round ended; the repository's insert decided it.
"""

from collections.abc import Iterator

from fedbus.core.actions import Action, Ask, Cancel, Note, WakeAt
from fedbus.jobs import JobFile
from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.training.options import without_training_metrics
from fedbus.wire.documents import EndPhase
from fedbus.wire.messages import (
    Dismissed,
    EndJob,
    Evaluated,
    FeaturesReady,
    JobLoaded,
    PlanRefused,
    RoundEnded,
    RoundOpened,
    TaskTaken,
)
from fedbus.wire.round_records import Plan
from fedbus_controller import keys
from fedbus_controller.job_context import JobContext, Services
from fedbus_controller.job_progress import JobProgress, JobStage
from fedbus_controller.mistnet.feature_gathering import FeatureGathering
from fedbus_controller.published_reasons import ControllerSentence
from fedbus_controller.rounds.evaluation_stage import EvaluationStage
from fedbus_controller.rounds.failed_rounds import FailedRounds
from fedbus_controller.rounds.planning import RoundPlanner
from fedbus_controller.rounds.planning_stage import CHECK_SECONDS, PlanningStage
from fedbus_controller.rounds.running_round import RunningRound


class RunningJob:
    """Runs one job under one lease epoch; `asked_nodes` must stop when it ends.

    Raises:
        FedbusError: A part of the job's strategy cannot be used any more.
    """

    def __init__(
        self, loaded: JobLoaded, file: JobFile, epoch: int, services: Services, now: float
    ) -> None:
        self.id = loaded.job
        # Committed rounds fix the strategy: another fedbus may have other defaults of parameters.
        strategy = loaded.strategy or services.strategy(file)
        self._context = JobContext(loaded.job, file, epoch, loaded.secret, strategy)
        self._services = services
        self.progress = JobProgress(loaded, file, strategy, services.utc)
        self._planner = RoundPlanner(self._context, services, loaded, now)
        self._planning = PlanningStage(self.progress, self._planner)
        self._evaluation = EvaluationStage(self._context, services, self.progress, self._planner)
        self._failed_rounds = FailedRounds()
        self._round: RunningRound | FeatureGathering | None = None
        self.asked_nodes: dict[str, None] = {}

    def resume(self, now: float) -> Iterator[Action]:
        """Continue from the state that the repository has stored."""
        progress = self.progress
        yield self.progress.announce()
        if progress.plan is not None and progress.plan.round == progress.rounds + 1:
            yield from self._open_round(progress.plan, now)
        elif progress.rounds and not without_training_metrics(progress.metrics):
            yield from self._evaluation.await_evaluators(now)  # the newest may not be evaluated
        else:
            yield from self._continue(now)

    def handle(self, timer: keys.JobTimer, now: float) -> Iterator[Action]:
        """Handle a timer of this job."""
        match timer:
            case keys.PlanningRetry():
                yield from self._plan(now)
            case keys.LivenessCheck():
                yield from self._check_liveness(now)
            case keys.EvaluationDeadline() if self.progress.stage is JobStage.EVALUATING:
                if self._evaluation.started:
                    yield from self._evaluation.cancel()
                    yield from self._finish_evaluation(now)
                else:
                    yield from self._evaluate(now)

    def _continue(self, now: float) -> Iterator[Action]:
        """End the job if its target or its last round is reached; else plan the next round."""
        file, rounds = self._context.file, self.progress.rounds
        trained = self._evaluation.without_evaluators and self._context.terms is None
        reached = rounds and file.reached(self.progress.metrics, trained=trained)
        if reached:
            yield from self.end("finished", ControllerSentence(reached))
        elif rounds >= file.num_rounds:
            done = ControllerSentence(f"all {rounds} rounds are done")
            yield from self.end("finished", done)
        else:
            self._planning.begin(now)
            yield from self._plan(now)

    def _plan(self, now: float) -> Iterator[Action]:
        if impossible := (yield from self._planning.attempt(now)):
            yield from self.end(impossible.phase, impossible.reason)

    def plan_stored(self, task: int, now: float) -> Iterator[Action]:
        """Open the round whose plan is stored."""
        if plan := (yield from self._planning.answered(task)):
            yield from self._open_round(plan, now)

    def plan_refused(self, refused: PlanRefused, now: float) -> Iterator[Action]:
        """Plan the round again; end the job if no round is possible any more."""
        if done := (yield from self._planning.refused(refused, now)):
            yield from self.end("finished", done)

    def ledger_loaded(self, loaded: JobLoaded) -> Iterator[Action]:
        """Take over what the repository's ledger says about this job."""
        yield from self._planner.ledger_loaded(loaded)
        yield from self.progress.note_spent(loaded.privacy)

    def _open_round(self, plan: Plan, now: float) -> Iterator[Action]:
        self.progress.stage = JobStage.RUNNING
        progress = self.progress
        base = progress.inline_weights if plan.base == progress.newest else None
        progress.round_began = self._services.utc()
        fleet, terms = self._services.fleet, self._context.feature_terms
        if terms is not None and not plan.features:
            self._round = FeatureGathering(plan, terms, self._context, fleet, now)
        else:
            self._round = RunningRound(plan, self._context, fleet, now, base)
        self._planner.record(plan)
        senders = (each.agent for each in plan.features)
        nodes = (plan.collector, *plan.cohort, *senders, *self._context.feature_trainers)
        self.asked_nodes.update(dict.fromkeys(nodes))
        yield from self._round.open(now)
        yield self.progress.announce()
        yield WakeAt(keys.LivenessCheck(self.id), now + CHECK_SECONDS)

    def receive(
        self,
        sender: str,
        answer: TaskTaken | RoundOpened | Dismissed | Evaluated | FeaturesReady,
        now: float,
    ) -> Iterator[Action]:
        """Handle a node's answer to a request of the running round or evaluation."""
        if isinstance(answer, Evaluated):
            if self._evaluation.started:
                yield from self._evaluation.add(sender, answer)
                yield from self._finish_evaluation(now)
        elif self.progress.stage is JobStage.RUNNING and self._round is not None:
            if isinstance(self._round, FeatureGathering):
                yield from self._round.answered(sender, answer)
                yield from self._check_gathering(self._round, now)
            elif not isinstance(answer, FeaturesReady):
                yield from self._round.answered(sender, answer)

    def node_restarted(self, node: str, now: float) -> Iterator[Action]:
        """Ask a restarted node of the round again.

        A masked round is planned again if it is the collector: agents answer each step once, and
        it has lost what they answered.
        """
        if self.progress.stage is not JobStage.RUNNING or self._round is None:
            return
        masked = self._context.strategy.masking is not None
        if masked and isinstance(self._round, RunningRound) and node == self._round.plan.collector:
            facts = {"job": self.id, "collector": node}
            yield Note("masks_lost", {**facts, "task": self._round.plan.task})
            yield from self._plan_again(self._round, now)
        else:
            yield from self._round.node_restarted(node)

    def _check_liveness(self, now: float) -> Iterator[Action]:
        if self._evaluation.started:
            yield from self._evaluation.cancel_lost(now)
            yield from self._finish_evaluation(now)
        elif self.progress.stage is JobStage.RUNNING and self._round is not None:
            yield from self._round.check_liveness(now)
            if isinstance(self._round, FeatureGathering):
                yield from self._check_gathering(self._round, now)
            elif self._round.collector_lost(now):
                yield from self._replace_collector(self._round, now)
            else:
                yield from self.progress.explain(self._round.missing_agents(now))
        if self.progress.stage in (JobStage.RUNNING, JobStage.EVALUATING):
            yield WakeAt(keys.LivenessCheck(self.id), now + CHECK_SECONDS)

    def _check_gathering(self, gathering: FeatureGathering, now: float) -> Iterator[Action]:
        """Plan the first round of a MistNet job once its features are there."""
        planner = self._planner.features
        if not gathering.ended or planner is None:
            yield from self.progress.explain(gathering.missing_agents)
            return
        yield from self._cancel_asks()
        yield from self._planner.distrust_ledger()
        if gathering.fault:
            yield from self._round_failed(gathering.fault, now)
            return
        planner.gathered(gathering.features)
        yield Note("features_gathered", {"job": self.id, "agents": len(gathering.features)})
        self._planning.begin(now)
        yield from self._plan(now)

    def _replace_collector(self, round_: RunningRound, now: float) -> Iterator[Action]:
        """Plan the round again for another collector, if there is one."""
        lost = round_.plan.collector
        if not self._planner.collectors(now):
            waiting = f"waiting for {lost}, which is lost, or another collector"
            yield from self.progress.explain(ControllerSentence(waiting))
            return
        yield Note("collector_lost", {"job": self.id, "collector": lost})
        yield from self._plan_again(round_, now)

    def _plan_again(self, round_: RunningRound, now: float) -> Iterator[Action]:
        """Abandon a round's task, and plan the round as another one."""
        yield from round_.close()
        yield from self._planner.distrust_ledger()
        self._planning.begin(now)
        yield from self._plan(now)

    def round_ended(self, ended: RoundEnded, now: float) -> Iterator[Action]:
        """Evaluate a committed version, or try a failed round again.

        A commit counts whichever collector reports it, and at any time; a failure counts only if it
        is that of the running task.
        """
        progress, stage, plan = self.progress, self.progress.stage, self.progress.plan
        if stage is JobStage.EVALUATING or ended.round != progress.rounds + 1:
            return
        if (record := progress.add_round(ended)) is not None:
            yield from self._cancel_asks()
            self._failed_rounds.committed()
            yield from self._planner.committed(record, plan)
            if stage is not JobStage.ENDING:
                yield from self._evaluate(now)
        elif stage is JobStage.RUNNING and ended.task == progress.task:
            yield from self._cancel_asks()
            yield from self._round_failed(ended.reason, now)

    def _round_failed(self, reason: str, now: float) -> Iterator[Action]:
        if self._planner.features is not None and self.progress.plan is not None:
            self._planner.features.failed(self.progress.plan)
        if too_often := (yield from self._failed_rounds.add(self.progress, reason)):
            yield from self.end("failed", too_often)
        else:
            self._planning.begin(now)
            yield self.progress.announce()
            yield from self._planner.distrust_ledger()
            yield WakeAt(keys.PlanningRetry(self.id), now + CHECK_SECONDS)

    def _evaluate(self, now: float) -> Iterator[Action]:
        """Have the newest version evaluated on held-out data, if there are evaluators."""
        evaluators = yield from self._evaluation.start(now)
        self.asked_nodes.update(dict.fromkeys(evaluators))
        yield WakeAt(keys.LivenessCheck(self.id), now + CHECK_SECONDS)
        yield from self._finish_evaluation(now)

    def _finish_evaluation(self, now: float) -> Iterator[Action]:
        if (yield from self._evaluation.finish(now)):
            yield from self._continue(now)

    def release(self) -> Iterator[Action]:
        """Cancel all asks and timers: the job continues elsewhere, or is loaded again."""
        yield from self._cancel_asks()
        yield Cancel(keys.JobEnding(self.id))

    def _cancel_asks(self) -> Iterator[Action]:
        if self._round is not None:
            yield from self._round.close()
        yield from self._evaluation.cancel()
        for key in (
            keys.PlanStorage,
            keys.PlanStorageDeadline,
            keys.PlanningRetry,
            keys.LivenessCheck,
            keys.EvaluationDeadline,
            keys.LedgerLoading,
        ):
            yield Cancel(key(self.id))

    def end(self, phase: EndPhase, reason: str) -> Iterator[Action]:
        """Ask the repository to end the job; its answer decides how the job ended."""
        if self.progress.stage is JobStage.ENDING:
            return
        yield from self._cancel_asks()
        yield from self.progress.log_withheld(reason)
        self.progress.stage = JobStage.ENDING
        text = self.progress.published(reason)[:MAX_TEXT_CHARACTERS]
        end = EndJob(epoch=self._context.epoch, job=self.id, phase=phase, reason=text)
        yield Ask(keys.JobEnding(self.id), self._services.repository, end)
