"""One job, from its acceptance to its end: plan a round, run it, score it, decide. Pure.

A round is planned, and the plan stored, before anyone is asked; so a restarted controller asks the same
agents for the same tasks again. The collector says how a round ended; the repository's insert made it so.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Literal

from fedbus.actions import Action, Announce, Ask, Cancel, Note, Send, WakeAt
from fedbus.plugins import AgentInfo, Selector
from fedbus.wire.jobfile import JobFile, params
from fedbus.wire.messages import (
    Dismiss,
    EndJob,
    Evaluated,
    EvaluateTask,
    JobLoaded,
    Noted,
    OpenRound,
    RoundEnded,
    StopJob,
    StorePlan,
    StoreScore,
    TrainTask,
)
from fedbus.wire.states import JobState, RoundState
from fedbus.wire.states import Phase as PublicPhase
from fedbus.wire.topics import JOB_STATE, ROUND_STATE
from fedbus.wire.values import Plan, RoundRecord
from fedbus_controller.fleet import Fleet, Status

INLINE_MOST = 16 * 1024
INLINE_TOGETHER = 4 * 2**20
LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 5.0
SCORE_SECONDS = 60.0
MAX_FAILED = 3

EndPhase = Literal["finished", "failed", "cancelled"]


class Phase(StrEnum):
    """Where a job stands, for those who drive it."""

    WAITING = "waiting"
    PLANNING = "planning"
    RUNNING = "running"
    SCORING = "scoring"
    ENDING = "ending"


@dataclass(frozen=True, slots=True)
class Means:
    """What jobs are run with."""

    repository: str
    fleet: Fleet
    selector: Callable[[str], Selector]


class Job:
    """A job at work."""

    def __init__(
        self, loaded: JobLoaded, file: JobFile, epoch: int, means: Means, now: float
    ) -> None:
        self.id = loaded.job
        self.file = file
        self.phase = Phase.WAITING
        self.plan = loaded.plan
        self._secret = loaded.secret
        self._latest = loaded.latest
        self._rounds = loaded.rounds
        self._metrics = dict(loaded.metrics)
        self._task = loaded.plan.task if loaded.plan else 0
        self._epoch = epoch
        self._means = means
        self._since = now
        self._failed = 0
        self._why = ""
        self._end: EndJob | None = None
        self._record: RoundRecord | None = None
        self._scores: dict[str, Evaluated | None] = {}
        self._asked_in: dict[str, int] = {}
        self._dismissed: set[str] = set()
        self._collector_life = 0

    # ── planning ───────────────────────────────────────────────────────────────────────────────────

    def resume(self, now: float) -> Iterator[Action]:
        """Go on where the repository says the job stands."""
        yield from self._announce("running")
        if self.plan is not None and self.plan.round == self._rounds + 1:
            yield from self._open(now)
        else:
            yield from self._next(now)

    def _next(self, now: float) -> Iterator[Action]:
        """End the job if it is done; else plan the next round."""
        reached = self.file.reached(self._metrics) if self._rounds else None
        if reached:
            yield from self.end("finished", reached)
        elif self._rounds >= self.file.num_rounds:
            yield from self.end("finished", f"all {self._rounds} rounds are done")
        else:
            self.phase, self._since = Phase.WAITING, now
            yield from self.look(now)

    def look(self, now: float) -> Iterator[Action]:
        """Plan as soon as there are enough agents and a collector."""
        if self.phase is not Phase.WAITING:
            return
        fleet, wish = self._means.fleet, self.file.round
        agents = [
            AgentInfo(
                agent=name,
                last_selected=self._asked_in.get(name, 0),
                examples=facts.examples,
                load=fleet.load(name),
            )
            for name, facts in fleet.agents("train", now)
        ]
        collectors = fleet.collectors(now)
        patient = now < self._since + PATIENCE_SECONDS
        if not collectors or len(agents) < (wish.agents if patient else wish.quorum):
            yield from self._wait(len(agents), len(collectors), now)
            return
        rng = self._chance("roster", self._task + 1)
        roster = self._means.selector(self.file.plugins.selector)(agents, wish.agents, rng)
        yield from self._make_plan(roster, collectors, rng, now)

    def _wait(self, agents: int, collectors: int, now: float) -> Iterator[Action]:
        wish = self.file.round
        why = f"waiting for agents: {agents} are online, {wish.agents} wanted, {wish.quorum} needed"
        if not collectors:
            why = "waiting for a collector"
        if why != self._why:
            self._why = why
            yield from self._announce("running")
        yield WakeAt(("look", self.id), now + LOOK_SECONDS)

    def _make_plan(
        self, roster: Sequence[str], collectors: Sequence[str], rng: Random, now: float
    ) -> Iterator[Action]:
        self._task += 1
        self._why = ""
        self.plan = Plan(
            job=self.id,
            round=self._rounds + 1,
            task=self._task,
            base=self._latest,
            collector=rng.choice(collectors),
            roster=tuple(roster),
            quorum=min(self.file.round.quorum, len(roster)),
            deadline_seconds=self.file.round.deadline_seconds,
        )
        self.phase = Phase.PLANNING
        facts = {"job": self.id, "round": self.plan.round, "task": self._task}
        yield Note("round_decided", {**facts, "at": now})
        store = StorePlan(epoch=self._epoch, plan=self.plan)
        yield Ask(("plan", self.id), self._means.repository, store)

    # ── a round ────────────────────────────────────────────────────────────────────────────────────

    def planned(self, task: int, now: float) -> Iterator[Action]:
        """The plan is stored: act upon it."""
        if self.phase is Phase.PLANNING and self.plan is not None and self.plan.task == task:
            yield Cancel(("plan", self.id))
            yield from self._open(now)

    def _open(self, now: float) -> Iterator[Action]:
        plan = self.plan
        assert plan is not None  # noqa: S101 - callers have one
        self.phase = Phase.RUNNING
        self._dismissed = set()
        facts = {"job": self.id, "round": plan.round, "task": plan.task, "agents": len(plan.roster)}
        yield Note("round_planned", {**facts, "at": now})
        yield from self.ask_collector()
        for agent in plan.roster:
            self._asked_in[agent] = plan.round
            yield self._ask_agent(agent)
        yield from self._announce("running")
        yield WakeAt(("watch", self.id), now + LOOK_SECONDS)

    def ask_collector(self) -> Iterator[Action]:
        """Tell the plan's collector, or a new life of it, to open the round."""
        plan = self.plan
        if self.phase is Phase.RUNNING and plan is not None:
            self._collector_life = self._means.fleet.incarnation(plan.collector)
            order = OpenRound(
                epoch=self._epoch,
                plan=plan,
                aggregator=self.file.plugins.aggregator,
                weighted=self.file.round.weighted,
            )
            yield Ask(("open", self.id), plan.collector, order)

    def _ask_agent(self, agent: str) -> Ask:
        plan = self.plan
        assert plan is not None  # noqa: S101 - a running round has one
        task = TrainTask(
            epoch=self._epoch,
            job=self.id,
            round=plan.round,
            task=plan.task,
            base=plan.base,
            collector=plan.collector,
            params=params(self.file),
            trainer=self.file.plugins.trainer,
            members=len(plan.roster),
            inline_up_to=min(INLINE_MOST, INLINE_TOGETHER // len(plan.roster)),
            seed=self._chance(agent, plan.task).getrandbits(48),
        )
        return Ask(("task", self.id, agent), agent, task)

    def reborn(self, node: str) -> Iterator[Action]:
        """A node of the round lives anew, and has forgotten: tell it again."""
        plan = self.plan
        if self.phase is not Phase.RUNNING or plan is None:
            return
        if node == plan.collector:
            yield from self.ask_collector()
            for agent in sorted(self._dismissed):
                yield self._ask_dismissal(agent)
        elif node in plan.roster and node not in self._dismissed:
            yield self._ask_agent(node)

    def watch(self, now: float) -> Iterator[Action]:
        """Let the collector wait no longer for agents that are lost; plan anew if it is lost itself."""
        plan, fleet = self.plan, self._means.fleet
        if self.phase is Phase.SCORING:
            for agent in [a for a, score in self._scores.items() if score is None]:
                if fleet.status(agent, now) is Status.LOST:
                    yield from self._scored(agent, None, now)
        if self.phase not in (Phase.RUNNING, Phase.SCORING) or plan is None:
            return
        if self.phase is Phase.RUNNING:
            for agent in plan.roster:
                if agent not in self._dismissed and fleet.status(agent, now) is Status.LOST:
                    self._dismissed.add(agent)
                    yield Cancel(("task", self.id, agent))
                    yield self._ask_dismissal(agent)
            others = [c for c in fleet.collectors(now) if c != plan.collector]
            if others and fleet.status(plan.collector, now) is Status.LOST:
                yield Note("collector_lost", {"job": self.id, "collector": plan.collector})
                yield from self._close_asks()
                self.phase, self._since = Phase.WAITING, now
                yield from self.look(now)
        yield WakeAt(("watch", self.id), now + LOOK_SECONDS)

    def _ask_dismissal(self, agent: str) -> Ask:
        plan = self.plan
        assert plan is not None  # noqa: S101 - a running round has one
        dismiss = Dismiss(
            epoch=self._epoch,
            job=self.id,
            task=plan.task,
            agents=(agent,),
            reason="lost: no heartbeat",
        )
        return Ask(("dismiss", self.id, agent), plan.collector, dismiss)

    def round_ended(self, sender: str, ended: RoundEnded, now: float) -> Iterator[Action]:
        """Go on from how the collector says a round ended."""
        yield Send(sender, Noted(job=self.id, task=ended.task))
        if self.phase is not Phase.RUNNING or self.plan is None or ended.round != self._rounds + 1:
            return
        if ended.version is None and ended.task != self.plan.task:
            return
        yield from self._close_asks()
        if ended.version is None or ended.record is None:
            yield from self._failed_round(ended.reason, now)
            return
        self._failed = 0
        self._rounds, self._latest, self._record = ended.round, ended.version, ended.record
        yield from self._score(now)

    def _failed_round(self, reason: str, now: float) -> Iterator[Action]:
        self._failed += 1
        self._why = f"round {self._rounds + 1} failed: {reason}"
        yield Note("round_failed", {"job": self.id, "round": self._rounds + 1, "reason": reason})
        if self._failed >= MAX_FAILED:
            yield from self.end("failed", f"{self._why}, {self._failed} times in a row")
        else:
            self.phase, self._since = Phase.WAITING, now
            yield from self._announce("running")
            yield WakeAt(("look", self.id), now + LOOK_SECONDS)

    def _close_asks(self) -> Iterator[Action]:
        yield Cancel(("open", self.id))
        yield Cancel(("plan", self.id))
        for agent in self.plan.roster if self.plan else ():
            yield Cancel(("task", self.id, agent))
            yield Cancel(("dismiss", self.id, agent))

    # ── scoring ────────────────────────────────────────────────────────────────────────────────────

    def _score(self, now: float) -> Iterator[Action]:
        """Have the new version scored on held-out data, if anyone holds some."""
        evaluators = [name for name, _ in self._means.fleet.agents("evaluate", now)]
        self._scores = dict.fromkeys(evaluators)
        self.phase = Phase.SCORING
        if not evaluators:
            yield from self._all_scored(now)
            return
        for agent in evaluators:
            task = EvaluateTask(
                epoch=self._epoch,
                job=self.id,
                version=self._latest,
                params=params(self.file),
                trainer=self.file.plugins.trainer,
                members=len(evaluators),
            )
            yield Ask(("evaluate", self.id, agent), agent, task)
        yield WakeAt(("score", self.id), now + SCORE_SECONDS)

    def evaluated(self, agent: str, score: Evaluated, now: float) -> Iterator[Action]:
        """Take an evaluator's score of the version that is being scored."""
        if self.phase is Phase.SCORING and score.version == self._latest.version:
            yield from self._scored(agent, score, now)

    def _scored(self, agent: str, score: Evaluated | None, now: float) -> Iterator[Action]:
        if agent not in self._scores or self._scores[agent] is not None:
            return
        yield Cancel(("evaluate", self.id, agent))
        if score is not None and score.reason:
            yield Note("score_failed", {"job": self.id, "agent": agent, "reason": score.reason})
            score = None
        if score is None:
            del self._scores[agent]
        else:
            self._scores[agent] = score
        if all(known is not None for known in self._scores.values()):
            yield from self._all_scored(now)

    def scores_due(self, now: float) -> Iterator[Action]:
        """Wait no longer for scores."""
        if self.phase is Phase.SCORING:
            for agent in [a for a, score in self._scores.items() if score is None]:
                yield Cancel(("evaluate", self.id, agent))
                del self._scores[agent]
            yield from self._all_scored(now)

    def _all_scored(self, now: float) -> Iterator[Action]:
        record = self._record
        assert record is not None  # noqa: S101 - scoring follows a committed round
        yield Cancel(("score", self.id))
        scores = [score for score in self._scores.values() if score is not None]
        held_out = mean_of(scores)
        if scores:
            self._metrics = {**{f"train_{k}": v for k, v in record.metrics.items()}, **held_out}
            store = StoreScore(
                epoch=self._epoch, job=self.id, round=self._rounds, metrics=self._metrics
            )
            yield Ask(("store-score", self.id, self._rounds), self._means.repository, store)
        else:
            self._metrics = dict(record.metrics)
        yield Announce(ROUND_STATE, self._round_state(record))
        yield Note(
            "round_finished", {"job": self.id, "round": self._rounds, **self._metrics, "at": now}
        )
        yield from self._announce("running")
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
        )

    # ── the end ────────────────────────────────────────────────────────────────────────────────────

    def let_go(self) -> Iterator[Action]:
        """Ask and wait for nothing more: another controller goes on, or this one loads it again."""
        yield from self._close_asks()
        for agent in self._scores:
            yield Cancel(("evaluate", self.id, agent))
        for what in ("look", "watch", "score", "end"):
            yield Cancel((what, self.id))

    def end(self, phase: EndPhase, reason: str) -> Iterator[Action]:
        """Have the repository end the job; what it answers is how it ended."""
        if self.phase is Phase.ENDING:
            return
        yield from self.let_go()
        self.phase = Phase.ENDING
        self._end = EndJob(epoch=self._epoch, job=self.id, phase=phase, reason=reason[:4096])
        yield Ask(("end", self.id), self._means.repository, self._end)

    def ended(self, phase: EndPhase, reason: str) -> Iterator[Action]:
        """The job is over, as the repository says: tell everyone."""
        yield Cancel(("end", self.id))
        self._why = reason
        yield Note("job_ended", {"job": self.id, "phase": phase, "reason": reason})
        yield from self._announce(phase)
        for node in (*self.plan.roster, self.plan.collector) if self.plan else ():
            stop = StopJob(epoch=self._epoch, job=self.id)
            yield Ask(("stop", self.id, node), node, stop)

    def was_ended(self, phase: EndPhase, reason: str) -> Iterator[Action]:
        """Say again how a job ended that was over before this controller began."""
        self._why = reason
        yield from self._announce(phase)

    def _announce(self, phase: PublicPhase) -> Iterator[Action]:
        yield Announce(JOB_STATE, self.state(phase))

    def state(self, phase: PublicPhase = "running") -> JobState:
        """Say where the job stands."""
        return JobState(
            job=self.id,
            model=self.file.model_name,
            phase=phase,
            round=self._rounds,
            num_rounds=self.file.num_rounds,
            metrics=self._metrics,
            reason=self._why,
            version=self._latest.version,
            agents=len(self.plan.roster) if self.plan and self.phase is Phase.RUNNING else 0,
        )

    def _chance(self, *what: object) -> Random:
        """Make chance that replays for who knows the job's secret, and that nobody else can predict."""
        text = "\0".join((self.id, *(str(part) for part in what)))
        return Random(hashlib.sha256(self._secret + text.encode()).digest())


def mean_of(scores: Sequence[Evaluated]) -> dict[str, float]:
    """Average scores metric by metric, weighted by examples."""
    means: dict[str, float] = {}
    for name in sorted({name for score in scores for name in score.metrics}):
        having = [score for score in scores if name in score.metrics]
        examples = sum(score.examples for score in having)
        if examples:
            means[name] = sum(s.metrics[name] * s.examples for s in having) / examples
    return means
