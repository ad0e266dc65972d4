"""What the collector decides: which rounds are open, and whose word counts. Pure.

It keeps no durable state. A restarted collector is told its open rounds again and folds again from
what agents still hold; whether an update counts is decided once, by the repository's insert.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from fedbus.core.actions import Action, Ask, Cancel, Note, Send
from fedbus.core.events import Event, Fetched, FetchFailed, Ran, Received, RunFailed, Woke
from fedbus.errors import FedbusError
from fedbus.wire.documents import AgentFacts
from fedbus.wire.messages import (
    CommitRefused,
    Committed,
    Decline,
    Dismiss,
    Dismissed,
    JobStopped,
    LookedUp,
    LookUp,
    Offer,
    OpenRound,
    Receipt,
    RoundEnded,
    RoundEndNoted,
    RoundOpened,
    StaleEpoch,
    StopJob,
)
from fedbus.wire.topics import Topic
from fedbus_collector import keys
from fedbus_collector.keys import RoundKey
from fedbus_collector.rounds.ended import EndedRounds
from fedbus_collector.rounds.progress import RoundProgress
from fedbus_collector.rounds.round_collector import RoundCollector, RoundResources


class CollectorCore:
    """Rounds by job: at most one is open for each."""

    listens: tuple[Topic, ...] = ()

    def __init__(self, incarnation: int, repository: str, resources: RoundResources) -> None:
        self._incarnation = incarnation
        self._repository = repository
        self._resources = resources
        self._epoch = 0
        self._open: dict[str, RoundCollector] = {}
        self._working: dict[tuple[str, int], RoundCollector] = {}  # ended while a worker was busy
        self._ended = EndedRounds()

    def facts(self) -> AgentFacts | None:
        """Nothing to announce beyond being there."""
        return None

    def progress(self) -> float:
        """The share of the open rounds' cohorts that has settled."""
        rounds = [collection.round for collection in self._open.values()]
        asked = sum(len(r.plan.cohort) for r in rounds)
        settled = sum(len(r.counted) + len(r.refused) for r in rounds)
        return settled / asked if asked else 0.0

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Decide what follows from an event."""
        match event:
            case Received(sender, OpenRound() | Dismiss() | StopJob() as order):
                if order.epoch < self._epoch:
                    yield Send(sender, StaleEpoch(epoch=self._epoch))
                else:
                    self._epoch = order.epoch
                    yield from self._ordered(sender, order, now)
            case Received(sender, Offer() | Decline() as answer):
                yield from self._answered(sender, answer, now)
            case Received(_, message):
                yield from self._told(message, now)
            case (
                Woke(RoundKey() as key)
                | Fetched(RoundKey() as key)
                | FetchFailed(RoundKey() as key)
                | Ran(RoundKey() as key)
                | RunFailed(RoundKey() as key)
            ):
                if collection := self._collection(key.job, key.task):
                    yield from self._drive(collection, self._went_on(collection, event, now))
                elif isinstance(event, Ran | RunFailed):
                    self._let_go(key)
            case _:
                pass

    # ── the controller ────────────────────────────────────────────────────────────────────────────

    def _ordered(
        self, sender: str, order: OpenRound | Dismiss | StopJob, now: float
    ) -> Iterator[Action]:
        match order:
            case OpenRound(plan=plan):
                yield from self._opened(sender, order, now)
                opened = RoundOpened(job=plan.job, task=plan.task, incarnation=self._incarnation)
                yield Send(sender, opened)
            case Dismiss(job=job, task=task, agents=agents, reason=reason):
                collection = self._collection(job, task)
                if collection is not None:
                    yield from self._drive(collection, collection.refuse(agents, reason, now))
                # A round that is not open yet cannot dismiss anybody: let us be asked again.
                if collection is not None or (job, task) in self._ended:
                    yield Send(sender, Dismissed(job=job, task=task, agents=agents))
            case _:
                yield from self._abandon(order.job, "the job has ended")
                for report in self._ended.unacknowledged(order.job):
                    yield Cancel(report)
                yield Send(sender, JobStopped(job=order.job))

    def _opened(self, sender: str, order: OpenRound, now: float) -> Iterator[Action]:
        plan = order.plan
        if ended := self._ended.known(plan):
            yield self._report(sender, ended)
            return
        current = self._open.get(plan.job)
        if current is not None and current.round.plan.task >= plan.task:
            current.controller = sender  # said again, perhaps by its successor
            return
        if self._ended.overtook(plan):
            return
        yield from self._abandon(plan.job, "the round was planned anew")
        for report in self._ended.unacknowledged(plan.job):
            # The controller that plans the next round knows how the last one ended.
            yield Cancel(report)
        collection = RoundCollector(RoundProgress(order, now), sender, self._resources)
        self._open[plan.job] = collection
        yield from self._drive(collection, collection.begin(now))

    # ── agents ────────────────────────────────────────────────────────────────────────────────────

    def _answered(self, agent: str, answer: Offer | Decline, now: float) -> Iterator[Action]:
        job, task = answer.job, answer.task
        collection = self._collection(job, task)
        if isinstance(answer, Decline):
            if collection is not None:
                steps = collection.refuse((agent,), answer.reason, now)
                yield from self._drive(collection, steps)
            yield Send(agent, Receipt(job=job, task=task, verdict="drop", reason="noted"))
        elif collection is not None:
            yield from self._drive(collection, collection.offered(agent, answer, now))
        else:
            yield from self._answer_late(agent, answer)

    def _answer_late(self, agent: str, offer: Offer) -> Iterator[Action]:
        """Answer for a round that is not open here."""
        ended = self._ended.get(offer.job, offer.task)
        if ended is None:
            # Perhaps from before our restart: the repository knows, or will.
            look_up = LookUp(job=offer.job, agent=agent, task=offer.task)
            yield Ask(keys.UpdateLookup(offer.job, offer.task, agent), self._repository, look_up)
            return
        counted = ended.record is not None and any(
            c.agent == agent and c.task == offer.task for c in ended.record.contributors
        )
        verdict: Literal["stored", "drop"] = "stored" if counted else "drop"
        reason = "" if counted else f"round {offer.round} ended without it"
        yield Send(agent, Receipt(job=offer.job, task=offer.task, verdict=verdict, reason=reason))

    # ── the repository, and a controller that has heard ───────────────────────────────────────────

    def _told(self, message: object, now: float) -> Iterator[Action]:
        match message:
            case LookedUp(job=job, agent=agent, task=task, verdict=verdict):
                yield Cancel(keys.UpdateLookup(job, task, agent))
                yield Send(agent, Receipt(job=job, task=task, verdict=verdict))
            case Committed(version=version, record=record):
                collection = self._open.get(record.job)
                if collection is not None and collection.round.plan.round == record.round:
                    steps = collection.committed(version, record, now)
                    yield from self._drive(collection, steps)
            case CommitRefused(job=job, task=task, reason=reason):
                if collection := self._collection(job, task):
                    steps = collection.fail(f"the repository refused it: {reason}")
                    yield from self._drive(collection, steps)
            case RoundEndNoted(job=job, task=task):
                report = keys.RoundEndReport(job, task)
                self._ended.acknowledged(report)
                yield Cancel(report)
            case _:
                pass

    # ── a round's own events ──────────────────────────────────────────────────────────────────────

    def _went_on(self, collection: RoundCollector, event: Event, now: float) -> Iterator[Action]:
        match event:
            case Woke(keys.RoundDeadline()):
                yield from collection.deadline(now)
            case Woke(keys.RoundInputRetry()):
                yield from collection.prepare(now)
            case Fetched(keys.UpdateFetch(agent=agent)):
                yield from collection.arrived(agent)
            case Fetched(keys.RoundInputFetch() as key):
                yield from collection.came(key.part, now)
            case FetchFailed(keys.UpdateFetch(agent=agent)):
                collection.did_not_arrive(agent)
            case FetchFailed(keys.RoundInputFetch() as key, reason):
                yield from collection.did_not_come(key.part, reason, now)
            case Ran(keys.BaseCheck(), digest):
                yield from collection.base_checked(digest, now)
            case Ran(keys.FoldRun(agents=agents), refused):
                yield from collection.folded(agents, refused, now)
            case Ran(keys.AggregateRun(), digest):
                yield from collection.aggregated(digest, now)
            case RunFailed(keys.RoundRun() as run, error):
                # A worker that failed may have folded a part: the total is not to be trusted.
                yield Note("round_work_failed", {"work": run.work, "error": str(error)})
                collection.work_ended(run)
                yield from collection.fail(f"{run.work}: {error}")
            case _:
                pass

    def _drive(self, collection: RoundCollector, steps: Iterator[Action]) -> Iterator[Action]:
        """Take a round's steps; if they end it, tell its controller until that has noted it."""
        try:
            yield from steps
        except FedbusError as error:
            yield from collection.fail(str(error))
        ended = collection.ended
        if ended is not None and self._open.get(ended.job) is collection:
            del self._open[ended.job]
            if collection.busy:
                self._working[collection.round.key] = collection
            first = replace(ended, inline=collection.small) if collection.small else None
            yield self._report(collection.controller, ended, first)
            for report in self._ended.add(ended):
                yield Cancel(report)

    def _report(self, controller: str, ended: RoundEnded, first: RoundEnded | None = None) -> Ask:
        """Tell a controller how a round ended, until it has noted it."""
        report = keys.RoundEndReport(ended.job, ended.task)
        self._ended.reporting(report)
        return Ask(report, controller, ended, first)

    def _let_go(self, key: RoundKey) -> None:
        """Close the spools of a round that ended while its worker read them."""
        collection = self._working.get((key.job, key.task))
        if collection is not None:
            collection.work_ended(key)
            if not collection.busy:
                del self._working[key.job, key.task]
                collection.let_go()

    def _abandon(self, job: str, reason: str) -> Iterator[Action]:
        """End an open round of which its controller need not hear."""
        if collection := self._open.get(job):
            yield from self._drive(collection, collection.fail(reason))
            report = keys.RoundEndReport(*collection.round.key)
            self._ended.acknowledged(report)
            yield Cancel(report)

    def _collection(self, job: str, task: int) -> RoundCollector | None:
        collection = self._open.get(job)
        return collection if collection and collection.round.plan.task == task else None
