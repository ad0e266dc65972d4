"""What an agent decides. Pure.

It takes tasks, fetches what they need, has one worked on at a time, and offers what came of it until it
is told what became of the offer. An update is on disk before it is offered and never changes after.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from fedbus.actions import (
    Action,
    Ask,
    Cancel,
    Connected,
    Event,
    Fetch,
    Fetched,
    FetchFailed,
    Introduce,
    Key,
    Note,
    Ran,
    Received,
    Run,
    RunFailed,
    Send,
    Serve,
    Stopping,
    Unserve,
    WakeAt,
    Woke,
)
from fedbus.errors import FedbusError, Stopped
from fedbus.spool import Spools
from fedbus.wire.messages import (
    Decline,
    Evaluated,
    EvaluateTask,
    JobStopped,
    Receipt,
    StaleEpoch,
    StopJob,
    TaskTaken,
    TrainTask,
)
from fedbus.wire.states import AgentFacts
from fedbus.wire.topics import Topic
from fedbus_edge_agent.models import Models
from fedbus_edge_agent.outbox import FileBlob, Kept, Outbox
from fedbus_edge_agent.tasks import Order, Task, key_of
from fedbus_edge_agent.work import Bench, Scored, Trained

RETRY_SECONDS = 2.0
INTRODUCE_SECONDS = 1.0
MAX_SCORES = 64

FactsOf = Callable[[str, dict[str, int]], AgentFacts]
"""Makes an agent's facts from its running task and the models it holds."""


class AgentCore:
    """Tasks, one worked on at a time, and offers, until they may be forgotten."""

    listens: tuple[Topic, ...] = ()

    def __init__(self, bench: Bench, outbox: Outbox, spools: Spools, facts: FactsOf) -> None:
        self._bench = bench
        self._outbox = outbox
        # Read before any order comes: a task that was answered must not be trained again.
        self._kept = outbox.load()
        self._spools = spools
        self._facts = facts
        self._epoch = 0
        self._models = Models()
        self._tasks: dict[Key, Task] = {}
        self._working: Task | None = None
        self._offers: dict[tuple[str, int], tuple[Kept, FileBlob]] = {}
        self._declined: dict[tuple[str, int], str] = {}
        self._settled: dict[str, int] = {}  # by job: the highest task that needs nothing more
        self._scores: dict[Key, Evaluated] = {}
        self._introduced = ""

    def facts(self) -> AgentFacts | None:
        """What this agent can do, on what, and what it is doing."""
        self._introduced = self._doing()
        return self._facts(self._introduced, self._models.held())

    def progress(self) -> float:
        """Of the task that is worked on."""
        return self._working.flag.progress if self._working else 0.0

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Decide what follows from an event."""
        match event:
            case Connected():
                for kept in self._kept:
                    yield from self._offer(Trained(kept, self._outbox.open(kept), None))
                self._kept = []
            case Received(sender, TrainTask() | EvaluateTask() | StopJob() as order):
                if order.epoch < self._epoch:
                    yield Send(sender, StaleEpoch(epoch=self._epoch))
                else:
                    self._epoch = order.epoch
                    yield from self._ordered(sender, order, now)
            case Received(_, Receipt(job=job, task=number, verdict="stored" | "drop")):
                yield from self._forget(job, number)
            case Fetched((_, *key, digest)) if tuple(key) in self._tasks:
                yield from self._fetched(self._tasks[tuple(key)], digest, now)
            case FetchFailed((_, *key, digest)) if tuple(key) in self._tasks:
                self._tasks[tuple(key)].fetching.pop(digest)[1].close()
                yield WakeAt(("retry", *key), now + RETRY_SECONDS)
            case Woke(("retry", *key)) if tuple(key) in self._tasks:
                yield from self._gather(self._tasks[tuple(key)], now)
            case Woke(("introduce",)):
                if self._doing() != self._introduced:
                    yield Introduce()
            case Ran((("train" | "evaluate"), *_) as key, result):
                yield from self._worked(key, result, now)
            case RunFailed((("train" | "evaluate"), *_) as key, error):
                yield from self._worked(key, error, now)
            case Stopping():
                for task in self._tasks.values():
                    task.flag.stop()
            case _:
                pass

    # ── orders ─────────────────────────────────────────────────────────────────────────────────────

    def _ordered(
        self, sender: str, order: TrainTask | EvaluateTask | StopJob, now: float
    ) -> Iterator[Action]:
        match order:
            case TrainTask(job=job, task=number):
                yield Send(sender, TaskTaken(job=job, task=number))
                if number > self._settled.get(job, 0) and not self._answered(job, number):
                    yield from self._drop_tasks(job, before=number)
                    yield from self._take(sender, order, now)
            case EvaluateTask():
                score = self._scores.get(key_of(order))
                if score is not None:
                    yield Send(sender, score)
                else:
                    yield from self._take(sender, order, now)
            case StopJob(job=job):
                yield from self._drop_tasks(job)
                for name, number in [*self._offers, *self._declined]:
                    if name == job:
                        yield from self._forget(name, number)
                yield Send(sender, JobStopped(job=job))

    def _answered(self, job: str, number: int) -> bool:
        return (job, number) in self._offers or (job, number) in self._declined

    def _take(self, sender: str, order: Order, now: float) -> Iterator[Action]:
        if key_of(order) in self._tasks:
            return
        task = Task(order, sender)
        self._tasks[task.key] = task
        yield from self._gather(task, now)
        yield WakeAt(("introduce",), now + INTRODUCE_SECONDS)

    def _drop_tasks(self, job: str, before: int | None = None) -> Iterator[Action]:
        """Stop what is under way for a job; with `before`, only the training it supersedes."""
        for key, task in list(self._tasks.items()):
            if key[1] != job or (before is not None and (key[0] != "train" or key[2] >= before)):
                continue
            task.flag.stop()
            del self._tasks[key]
            yield Cancel(("retry", *key))
            for digest, (_, spool) in task.fetching.items():
                yield Cancel(("fetch", *key, digest))
                spool.close()

    # ── gathering and working ──────────────────────────────────────────────────────────────────────

    def _gather(self, task: Task, now: float) -> Iterator[Action]:
        """Fetch what is missing; work once nothing is."""
        try:
            missing = self._models.missing(task.ref)
        except FedbusError as error:
            yield from self._worked(task.key, error, now)
            return
        for manifest in missing:
            if manifest.digest not in task.fetching:
                sink = self._spools.make(manifest.size)
                task.fetching[manifest.digest] = manifest, sink
                key = ("fetch", *task.key, manifest.digest)
                members = task.order.members
                yield Fetch(key, task.ref.reference(manifest), sink, members)
        if not missing:
            yield from self._work()

    def _fetched(self, task: Task, digest: str, now: float) -> Iterator[Action]:
        manifest, spool = task.fetching.pop(digest)
        try:
            self._models.put(task.ref, manifest, spool)
        except FedbusError as error:
            yield from self._worked(task.key, error, now)
        else:
            yield from self._gather(task, now)

    def _work(self) -> Iterator[Action]:
        """Begin with the first task that has all it needs, if nothing is being worked on."""
        if self._working is not None:
            return
        for task in self._tasks.values():
            weights = self._models.weights(task.ref)
            if weights is None or self._models.missing(task.ref):
                continue
            self._working = task
            blob = memoryview(weights.read(0, weights.size))
            model = self._models.model(task.ref)
            match task.order:
                case TrainTask() as order:
                    yield Run(task.key, partial(self._bench.train, order, model, blob, task.flag))
                case EvaluateTask() as order:
                    yield Run(
                        task.key, partial(self._bench.evaluate, order, model, blob, task.flag)
                    )
            return

    def _worked(self, key: Key, result: object, now: float) -> Iterator[Action]:
        """Answer for a task that ended, well or not, unless it was dropped meanwhile."""
        task = self._tasks.get(key)
        if self._working is not None and self._working.key == key:
            dropped = self._working is not task
            self._working = None
            if dropped and isinstance(result, Trained):
                offer = result.kept.offer
                yield Run(
                    ("forget", offer.job, offer.task),
                    partial(self._outbox.forget, offer.job, offer.task),
                )
            if dropped:
                task = None
        if task is not None:
            del self._tasks[key]
            for digest, (_, spool) in task.fetching.items():
                yield Cancel(("fetch", *key, digest))
                spool.close()
            yield from self._answer(task, result)
            yield WakeAt(("introduce",), now + INTRODUCE_SECONDS)
        yield from self._work()

    def _answer(self, task: Task, result: object) -> Iterator[Action]:
        match task.order, result:
            case TrainTask(), Trained():
                yield from self._offer(result)
            case _, Stopped():
                pass
            case TrainTask() as order, Exception():
                self._models.forget_weights(task.ref)
                yield from self._decline(order, str(result) or type(result).__name__)
            case EvaluateTask() as order, Scored(examples, metrics):
                yield from self._score(task, order, examples, metrics, "")
            case EvaluateTask() as order, Exception():
                self._models.forget_weights(task.ref)
                yield from self._score(task, order, 0, {}, str(result) or type(result).__name__)

    # ── answers ────────────────────────────────────────────────────────────────────────────────────

    def _offer(self, trained: Trained) -> Iterator[Action]:
        offer = trained.kept.offer
        self._offers[offer.job, offer.task] = trained.kept, trained.source
        yield Serve(offer.update.digest, trained.source)
        inline = None if trained.inline is None else replace(offer, inline=trained.inline)
        yield Ask(("answer", offer.job, offer.task), trained.kept.collector, offer, inline)

    def _decline(self, order: TrainTask, reason: str) -> Iterator[Action]:
        self._declined[order.job, order.task] = reason
        yield Note("task_failed", {"job": order.job, "task": order.task, "reason": reason})
        decline = Decline(job=order.job, round=order.round, task=order.task, reason=reason[:4096])
        yield Ask(("answer", order.job, order.task), order.collector, decline)

    def _score(
        self, task: Task, order: EvaluateTask, examples: int, metrics: dict[str, float], reason: str
    ) -> Iterator[Action]:
        score = Evaluated(
            job=order.job,
            version=order.version.version,
            examples=examples,
            metrics=metrics,
            reason=reason[:4096],
        )
        while len(self._scores) >= MAX_SCORES:
            del self._scores[next(iter(self._scores))]
        if not reason:
            self._scores[task.key] = score
        yield Send(task.controller, score)

    def _forget(self, job: str, number: int) -> Iterator[Action]:
        """Let go of an update or a decline: its collector has said what became of it."""
        self._settled[job] = max(self._settled.get(job, 0), number)
        self._declined.pop((job, number), None)
        yield Cancel(("answer", job, number))
        held = self._offers.pop((job, number), None)
        if held is not None:
            yield Unserve(held[0].offer.update.digest)
            yield Run(("forget", job, number), partial(self._outbox.forget, job, number))

    def _doing(self) -> str:
        return " ".join(str(part) for part in next(iter(self._tasks), ()))
