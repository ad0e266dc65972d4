"""One job, from its acceptance to its end: plan a round, run it, score it, decide. Pure.

A round is planned, and the plan stored, before anyone is asked; so a restarted controller asks the
same agents for the same tasks again. The collector says how a round ended; the repository's insert
made it so.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Literal, TypeAlias

from fedbus.core.actions import Action, Announce, Ask, Cancel, Clear, Note, WakeAt
from fedbus.jobs import JobFile
from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.training.options import without_training_metrics
from fedbus.wire.documents import JobPhase as PublicPhase
from fedbus.wire.documents import JobState, RoundState
from fedbus.wire.identifiers import Timestamp
from fedbus.wire.messages import (
    Dismissed,
    EndJob,
    Evaluated,
    JobLoaded,
    RoundEnded,
    RoundOpened,
    StopJob,
    StoreEvaluation,
    StorePlan,
    TaskTaken,
)
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus.wire.topics import JOB_STATE, ROUND_STATE
from fedbus_controller import keys
from fedbus_controller.fleet import Liveness
from fedbus_controller.job_context import JobContext, Services
from fedbus_controller.rounds.evaluation import Evaluation
from fedbus_controller.rounds.planning import (
    PATIENCE_SECONDS,
    PlanImpossible,
    PlanPostponed,
    RoundPlanner,
)
from fedbus_controller.rounds.running_round import RunningRound

LOOK_SECONDS = 1.0
EVALUATION_SECONDS = 60.0
STUCK_SECONDS = 30.0
MAX_FAILED = 3
RETAINED_ROUNDS = 1000
"""The last ones of a job; the broker keeps what is retained in memory."""

EndPhase = Literal["finished", "failed", "cancelled"]
Answer: TypeAlias = TaskTaken | RoundOpened | Dismissed


class JobStage(StrEnum):
    """Where a job stands, for those who drive it."""

    WAITING = "waiting"
    PLANNING = "planning"
    RUNNING = "running"
    EVALUATING = "evaluating"
    ENDING = "ending"


class RunningJob:
    """A job at work."""

    def __init__(
        self, loaded: JobLoaded, file: JobFile, epoch: int, services: Services, now: float
    ) -> None:
        self.id = loaded.job
        self.phase = JobStage.WAITING
        self._context = JobContext(loaded.job, file, epoch, loaded.secret)
        self._services = services
        self._latest = loaded.latest
        self._planner = RoundPlanner(self._context, services, loaded.needs, now, loaded.plan)
        self._rounds = loaded.rounds
        self._metrics = dict(loaded.metrics)
        self._plan = loaded.plan
        self._failed = 0
        self._why = ""
        self._left_out = ""  # which agents, because they name classes or inputs differently
        self._round: RunningRound | None = None
        self._evaluation: Evaluation | None = None
        self._unjudged = False  # nobody holds data out, so figures of training are all there is
        self._record: RoundRecord | None = None
        self._small: bytes | None = None  # the latest version's weights, if they ride along
        self._submitted, self._ended = loaded.submitted, loaded.ended
        self._began: Timestamp | None = None  # the round; None if our last life opened it
        self._told: dict[str, None] = {}  # whom to tell of the end

    @property
    def stuck(self) -> bool:
        """Whether the repository keeps silent about a plan: it may know better than we do."""
        return self.phase is JobStage.PLANNING

    # ── planning ──────────────────────────────────────────────────────────────────────────────────

    def resume(self, now: float) -> Iterator[Action]:
        """Go on where the repository says the job stands."""
        yield from self._announce()
        if self._plan is not None and self._plan.round == self._rounds + 1:
            yield from self._open(self._plan, now)
        elif self._rounds and not without_training_metrics(self._metrics):
            # The last version may lack its score. Evaluators introduce themselves while we load.
            self.phase = JobStage.EVALUATING
            yield WakeAt(keys.EvaluationDeadline(self.id), now + PATIENCE_SECONDS)
        else:
            yield from self._next(now)

    def _next(self, now: float) -> Iterator[Action]:
        """End the job if it is done; else plan the next round."""
        file = self._context.file
        reached = file.reached(self._metrics, trained=self._unjudged) if self._rounds else None
        if reached:
            yield from self.end("finished", reached)
        elif self._rounds >= file.num_rounds:
            yield from self.end("finished", f"all {self._rounds} rounds are done")
        else:
            self._begin_planning(now)
            yield from self.look(now)

    def _begin_planning(self, now: float) -> None:
        self.phase = JobStage.WAITING
        self._planner.begin(now)

    def look(self, now: float) -> Iterator[Action]:
        """Plan as soon as there are enough agents and a collector."""
        if self.phase is not JobStage.WAITING:
            return
        match self._planner.find(self._latest, self._rounds + 1, self._task + 1, now):
            case PlanPostponed(why):
                yield from self._say_left_out(self._planner.left_out)
                yield from self._explain(why)
                yield WakeAt(keys.PlanningRetry(self.id), now + LOOK_SECONDS)
            case PlanImpossible(why):
                yield from self.end("failed", why)
            case plan:
                yield from self._store(plan, now)

    @property
    def _task(self) -> int:
        return self._plan.task if self._plan else 0

    def _say_left_out(self, why: str) -> Iterator[Action]:
        if why and why != self._left_out:
            yield Note("agents_left_out", {"job": self.id, "reason": why})
        self._left_out = why

    def _store(self, plan: Plan, now: float) -> Iterator[Action]:
        self.phase, self._plan, self._why = JobStage.PLANNING, plan, ""
        yield from self._say_left_out(self._planner.left_out)
        facts = {"job": self.id, "round": plan.round, "task": plan.task}
        yield Note("round_decided", {**facts, "at": now})
        store = StorePlan(epoch=self._context.epoch, plan=plan)
        yield Ask(keys.PlanStorage(self.id), self._services.repository, store)
        yield WakeAt(keys.PlanStorageDeadline(self.id), now + STUCK_SECONDS)

    # ── a round ───────────────────────────────────────────────────────────────────────────────────

    def planned(self, task: int, now: float) -> Iterator[Action]:
        """The plan is stored: act upon it."""
        if self.phase is JobStage.PLANNING and self._plan is not None and self._plan.task == task:
            yield Cancel(keys.PlanStorage(self.id))
            yield Cancel(keys.PlanStorageDeadline(self.id))
            yield from self._open(self._plan, now)

    def _open(self, plan: Plan, now: float) -> Iterator[Action]:
        self.phase = JobStage.RUNNING
        small = self._small if plan.base == self._latest else None
        self._began = self._services.utc()
        self._round = RunningRound(plan, self._context, self._services.fleet, now, small)
        self._planner.follow(plan)
        self._told.update(dict.fromkeys((plan.collector, *plan.cohort)))
        yield from self._round.open(now)
        yield from self._announce()
        yield WakeAt(keys.LivenessCheck(self.id), now + LOOK_SECONDS)

    def answered(self, sender: str, answer: Answer) -> Iterator[Action]:
        """Take a node's answer to what a round asked of it."""
        if self.phase is JobStage.RUNNING and self._round is not None:
            yield from self._round.answered(sender, answer)

    def reborn(self, node: str) -> Iterator[Action]:
        """A node lives anew, and has forgotten: tell it again."""
        if self.phase is JobStage.RUNNING and self._round is not None:
            yield from self._round.reborn(node)

    def watch(self, now: float) -> Iterator[Action]:
        """Wait no longer for those who are lost."""
        if self.phase is JobStage.EVALUATING and self._evaluation is not None:
            fleet = self._services.fleet
            gone = [a for a in self._evaluation.missing if fleet.liveness(a, now) is Liveness.LOST]
            if gone:
                yield from self._evaluation.give_up(gone)
                yield from self._scored(now)
        elif self.phase is JobStage.RUNNING and self._round is not None:
            yield from self._round.watch(now)
            if self._round.collector_lost(now):
                yield from self._collect_elsewhere(self._round, now)
            else:
                yield from self._explain(self._round.lacks(now))
        if self.phase in (JobStage.RUNNING, JobStage.EVALUATING):
            yield WakeAt(keys.LivenessCheck(self.id), now + LOOK_SECONDS)

    def _collect_elsewhere(self, round_: RunningRound, now: float) -> Iterator[Action]:
        """Plan the round anew for another collector, once there is one."""
        lost = round_.plan.collector
        if not self._services.fleet.collectors(now):
            yield from self._explain(f"waiting for {lost}, which is lost, or another collector")
            return
        yield Note("collector_lost", {"job": self.id, "collector": lost})
        yield from round_.close()
        self._begin_planning(now)
        yield from self.look(now)

    def round_ended(self, ended: RoundEnded, now: float) -> Iterator[Action]:
        """Go on from how a collector says a round ended.

        A committed round is true whoever says so and whenever; a failure counts only if it is that
        of the round which runs.
        """
        if self.phase is JobStage.EVALUATING or ended.round != self._rounds + 1:
            return
        if ended.version is not None and ended.record is not None:
            was = self.phase
            yield from self._stop_asking()
            self._failed, self._record = 0, ended.record
            self._rounds, self._latest = ended.round, ended.version
            whole = len(ended.inline or b"") == ended.version.weights.size
            self._small = ended.inline if whole else None
            self._metrics = dict(ended.record.metrics)
            if was is JobStage.ENDING:
                self.phase = was
            else:
                yield from self._score(now)
        elif self.phase is JobStage.RUNNING and ended.task == self._task:
            yield from self._stop_asking()
            yield from self._failed_round(ended.reason, now)

    def _failed_round(self, reason: str, now: float) -> Iterator[Action]:
        self._failed += 1
        failed = f"round {self._rounds + 1} failed"
        self._why = f"{failed}: {reason}"
        yield Note("round_failed", {"job": self.id, "round": self._rounds + 1, "reason": reason})
        if self._failed >= MAX_FAILED:
            yield from self.end(
                "failed", f"{failed} {self._failed} times in a row, the last time: {reason}"
            )
        else:
            self._begin_planning(now)
            yield from self._announce()
            yield WakeAt(keys.PlanningRetry(self.id), now + LOOK_SECONDS)

    # ── scoring ───────────────────────────────────────────────────────────────────────────────────

    def _score(self, now: float) -> Iterator[Action]:
        """Have the new version scored on held-out data, if anyone holds some."""
        agreed = self._planner.evaluators(now)
        yield from self._say_left_out(agreed.told)
        evaluators = [name for name, _ in agreed.able]
        self.phase = JobStage.EVALUATING
        self._evaluation = Evaluation(self._context, self._latest, evaluators)
        self._told.update(dict.fromkeys(evaluators))
        yield from self._evaluation.ask()
        patience = max(EVALUATION_SECONDS, self._context.file.round.deadline_seconds)
        yield WakeAt(keys.EvaluationDeadline(self.id), now + patience)
        yield WakeAt(keys.LivenessCheck(self.id), now + LOOK_SECONDS)
        yield from self._scored(now)

    def evaluated(self, agent: str, score: Evaluated, now: float) -> Iterator[Action]:
        """Take an evaluator's score of the version that is being scored."""
        if self.phase is JobStage.EVALUATING and self._evaluation is not None:
            yield from self._evaluation.take(agent, score)
            yield from self._scored(now)

    def scores_due(self, now: float) -> Iterator[Action]:
        """Wait no longer for scores; after a restart, begin to ask for them."""
        if self.phase is JobStage.EVALUATING and self._evaluation is None:
            yield from self._score(now)
        elif self.phase is JobStage.EVALUATING and self._evaluation is not None:
            yield from self._evaluation.give_up(self._evaluation.missing)
            yield from self._scored(now)

    def _scored(self, now: float) -> Iterator[Action]:
        scoring = self._evaluation
        if scoring is None or scoring.missing:
            return
        yield Cancel(keys.EvaluationDeadline(self.id))
        self._metrics = scoring.metrics(self._metrics)
        if scoring.scored:
            key = keys.EvaluationStorage(self.id, self._rounds)
            store = StoreEvaluation(
                epoch=self._context.epoch, job=self.id, round=self._rounds, metrics=self._metrics
            )
            yield Ask(key, self._services.repository, store)
        if self._record is not None:  # none if the round was committed before our restart
            yield Announce(ROUND_STATE, self._round_state(self._record))
        if self._rounds > RETAINED_ROUNDS:
            old = str(self._rounds - RETAINED_ROUNDS)
            yield Clear(ROUND_STATE, {"job": self.id, "round": old})
        facts = {"job": self.id, "round": self._rounds, "metrics": self._metrics, "at": now}
        yield Note("round_finished", facts)
        self._unjudged = not scoring.evaluators
        self._evaluation = None
        yield from self._announce()
        yield from self._next(now)

    def _round_state(self, record: RoundRecord) -> RoundState:
        return RoundState(
            job=self.id,
            round=record.round,
            version=self._latest.version,
            contributors=tuple(c.agent for c in record.contributors),
            refusals={refusal.agent: refusal.reason for refusal in record.refusals},
            examples=sum(c.examples for c in record.contributors),
            metrics=self._metrics,
            seconds=record.seconds,
            began=self._began,
            at=self._services.utc(),
        )

    # ── the end ───────────────────────────────────────────────────────────────────────────────────

    def let_go(self) -> Iterator[Action]:
        """Ask and wait for nothing more: another controller goes on, or this one loads it again."""
        yield from self._stop_asking()
        yield Cancel(keys.JobEnding(self.id))

    def _stop_asking(self) -> Iterator[Action]:
        if self._round is not None:
            yield from self._round.close()
        if self._evaluation is not None:
            yield from self._evaluation.give_up(self._evaluation.missing)
        yield Cancel(keys.PlanStorage(self.id))
        timers = (
            keys.PlanStorageDeadline,
            keys.PlanningRetry,
            keys.LivenessCheck,
            keys.EvaluationDeadline,
        )
        for timer in timers:
            yield Cancel(timer(self.id))

    def end(self, phase: EndPhase, reason: str) -> Iterator[Action]:
        """Have the repository end the job; what it answers is how it ended."""
        if self.phase is JobStage.ENDING:
            return
        yield from self._stop_asking()
        self.phase = JobStage.ENDING
        end = EndJob(
            epoch=self._context.epoch, job=self.id, phase=phase, reason=reason[:MAX_TEXT_CHARACTERS]
        )
        yield Ask(keys.JobEnding(self.id), self._services.repository, end)

    def ended(self, phase: EndPhase, reason: str, at: Timestamp | None) -> Iterator[Action]:
        """The job is over, as the repository says: tell everyone."""
        yield from self.let_go()
        self.phase, self._why, self._ended = JobStage.ENDING, reason, at
        yield Note("job_ended", {"job": self.id, "phase": phase, "reason": reason})
        yield Announce(JOB_STATE, self.state(phase))
        for node in self._told:
            stop = StopJob(epoch=self._context.epoch, job=self.id)
            yield Ask(keys.StopRequest(self.id, node), node, stop)

    def was_ended(self, loaded: JobLoaded) -> JobState:
        """Say again how a job ended that was over before this controller began."""
        self._why = loaded.reason
        return self.state(loaded.phase)

    # ── for people ────────────────────────────────────────────────────────────────────────────────

    def _explain(self, why: str) -> Iterator[Action]:
        if why != self._why:
            self._why = why
            yield from self._announce()

    def _announce(self) -> Iterator[Action]:
        yield Announce(JOB_STATE, self.state())

    def state(self, phase: PublicPhase | None = None) -> JobState:
        """Say where the job stands: accepted until the first plan is stored, then running."""
        running: PublicPhase = "running" if self._rounds or self._round else "accepted"
        return JobState(
            job=self.id,
            model=self._context.file.model_name,
            phase=phase or running,
            round=self._rounds,
            num_rounds=self._context.file.num_rounds,
            metrics=self._metrics,
            reason=(self._why or self._left_out)[:MAX_TEXT_CHARACTERS],
            version=self._latest.version,
            agents=len(self._plan.cohort) if self._plan and self.phase is JobStage.RUNNING else 0,
            submitted=self._submitted,
            ended=self._ended,
            at=self._services.utc(),
        )
