"""What the collector decides: which rounds are open, and whose word counts. Pure.

It keeps no durable state. A restarted collector is told its open rounds again and folds again from what
agents still hold; whether an update counts is decided once, by the repository's insert.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Literal

from fedbus.actions import (
    Action,
    Ask,
    Cancel,
    Event,
    Fetched,
    FetchFailed,
    Note,
    Ran,
    Received,
    RunFailed,
    Send,
    Woke,
)
from fedbus.wire.messages import (
    CommitRefused,
    Committed,
    Decline,
    Dismiss,
    Dismissed,
    JobStopped,
    LookedUp,
    LookUp,
    Noted,
    Offer,
    OpenRound,
    Receipt,
    RoundEnded,
    RoundOpened,
    StaleEpoch,
    StopJob,
)
from fedbus.wire.states import AgentFacts
from fedbus.wire.topics import Topic
from fedbus_collector.collection import Collection, Means
from fedbus_collector.round import Round

REMEMBERED = 256


class CollectorCore:
    """Rounds by job: at most one is open for each."""

    listens: tuple[Topic, ...] = ()

    def __init__(self, incarnation: int, repository: str, means: Means) -> None:
        self._incarnation = incarnation
        self._repository = repository
        self._means = means
        self._epoch = 0
        self._open: dict[str, Collection] = {}
        self._working: dict[tuple[str, int], Collection] = {}  # ended while a worker was busy
        self._ended: OrderedDict[tuple[str, int], RoundEnded] = OrderedDict()

    def facts(self) -> AgentFacts | None:
        """Nothing to announce beyond being there."""
        return None

    def progress(self) -> float:
        """The share of the open rounds' rosters that has settled."""
        rounds = [collection.round for collection in self._open.values()]
        asked = sum(len(r.plan.roster) for r in rounds)
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
            case Received(sender, message):
                yield from self._heard(sender, message, now)
            case Woke(key) | Fetched(key) | FetchFailed(key) | Ran(key) | RunFailed(key):
                if collection := self._collection(*key[1:3]):
                    yield from self._went_on(collection, event, now)
                    yield from self._settle(collection)
                elif isinstance(event, Ran | RunFailed):
                    self._working.pop(key[1:3]).let_go()
            case _:
                pass

    def _ordered(
        self, sender: str, order: OpenRound | Dismiss | StopJob, now: float
    ) -> Iterator[Action]:
        match order:
            case OpenRound(plan=plan):
                yield from self._opened(sender, order, now)
                opened = RoundOpened(job=plan.job, task=plan.task, incarnation=self._incarnation)
                yield Send(sender, opened)
            case Dismiss(job=job, task=task, agents=agents, reason=reason):
                if collection := self._collection(job, task):
                    for agent in agents:
                        yield from collection.refuse(agent, reason)
                    yield from collection.decide(now)
                    yield from self._settle(collection)
                yield Send(sender, Dismissed(job=job, task=task, agents=agents))
            case StopJob(job=job):
                yield from self._abandon(job, "the job has ended")
                for key in [key for key in self._ended if key[0] == job]:
                    yield Cancel(("ended", *key))
                yield Send(sender, JobStopped(job=job))

    def _opened(self, sender: str, order: OpenRound, now: float) -> Iterator[Action]:
        plan = order.plan
        if ended := self._ended.get((plan.job, plan.task)):
            yield Ask(("ended", plan.job, plan.task), sender, ended)
            return
        current = self._open.get(plan.job)
        if current is not None and current.round.plan.task >= plan.task:
            current.controller = sender  # said again, perhaps by its successor
            return
        yield from self._abandon(plan.job, "the round was planned anew")
        collection = Collection(Round(order, now), sender, self._means)
        self._open[plan.job] = collection
        yield from collection.begin(now)
        yield from self._settle(collection)

    def _heard(self, sender: str, message: object, now: float) -> Iterator[Action]:
        match message:
            case Offer(job=job, task=task):
                if collection := self._collection(job, task):
                    yield from collection.offered(sender, message, now)
                    yield from self._settle(collection)
                else:
                    yield from self._answer_late(sender, message)
            case Decline(job=job, task=task, reason=reason):
                if collection := self._collection(job, task):
                    yield from collection.refuse(sender, reason)
                    yield from collection.decide(now)
                    yield from self._settle(collection)
                yield Send(sender, Receipt(job=job, task=task, verdict="drop", reason="noted"))
            case LookedUp(job=job, agent=agent, task=task, verdict=verdict):
                yield Cancel(("look-up", job, agent, task))
                yield Send(agent, Receipt(job=job, task=task, verdict=verdict))
            case Committed(version=version, record=record):
                collection = self._open.get(record.job)
                if collection is not None and collection.round.plan.round == record.round:
                    yield from collection.committed(version, record, now)
                    yield from self._settle(collection)
            case CommitRefused(job=job, task=task, reason=reason):
                if collection := self._collection(job, task):
                    yield from collection.fail(f"the repository refused it: {reason}")
                    yield from self._settle(collection)
            case Noted(job=job, task=task):
                yield Cancel(("ended", job, task))
            case _:
                pass

    def _answer_late(self, agent: str, offer: Offer) -> Iterator[Action]:
        """Answer for a round that is not open here."""
        ended = self._ended.get((offer.job, offer.task))
        if ended is None:
            # Perhaps from before our restart: the repository knows, or will.
            look_up = LookUp(job=offer.job, agent=agent, task=offer.task)
            yield Ask(("look-up", offer.job, agent, offer.task), self._repository, look_up)
            return
        counted = ended.record is not None and any(
            c.agent == agent and c.task == offer.task for c in ended.record.contributors
        )
        verdict: Literal["stored", "drop"] = "stored" if counted else "drop"
        reason = "" if counted else f"round {offer.round} ended without it"
        yield Send(agent, Receipt(job=offer.job, task=offer.task, verdict=verdict, reason=reason))

    def _went_on(self, collection: Collection, event: Event, now: float) -> Iterator[Action]:
        match event:
            case Woke(("deadline", *_)):
                yield from collection.deadline(now)
            case Woke(("prepare", *_)):
                yield from collection.prepare(now)
            case Fetched(("card", *_)):
                yield from collection.card_came(now)
            case Fetched(("base", *_)):
                yield from collection.base_came(now)
            case Fetched(("update", _, _, agent)):
                yield from collection.arrived(agent)
            case FetchFailed(("update", _, _, agent)):
                yield from collection.not_arrived(agent, now)
            case FetchFailed((what, _, _)):
                yield from collection.not_prepared(what, now)
            case Ran(("fold", _, _, agents), refused):
                yield from collection.folded(agents, refused, now)
            case Ran(("aggregate", _, _), digest):
                yield from collection.aggregated(digest, now)
            case RunFailed((what, *_), error):
                # A worker that failed may have folded a part: the total is not to be trusted.
                yield Note("work_failed", {"work": what, "error": str(error)})
                yield from collection.failed_work(f"{what}: {error}")
            case _:
                pass

    def _settle(self, collection: Collection) -> Iterator[Action]:
        """If a round has ended, tell its controller until it is noted."""
        ended = collection.ended
        if ended is None or self._open.get(ended.job) is not collection:
            return
        del self._open[ended.job]
        if collection.busy:
            self._working[collection.round.key] = collection
        self._ended[collection.round.key] = ended
        while len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        yield Ask(("ended", *collection.round.key), collection.controller, ended)

    def _abandon(self, job: str, reason: str) -> Iterator[Action]:
        """End an open round of which its controller need not hear."""
        if collection := self._open.get(job):
            yield from collection.fail(reason)
            yield from self._settle(collection)
            yield Cancel(("ended", *collection.round.key))

    def _collection(self, job: str, task: int) -> Collection | None:
        collection = self._open.get(job)
        return collection if collection and collection.round.plan.task == task else None
