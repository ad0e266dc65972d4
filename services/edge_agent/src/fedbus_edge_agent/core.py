"""What an agent decides. Pure.

It takes tasks, fetches what they need, has one worked on at a time, and offers what came of it
until it is told what became of the offer.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial

from fedbus.blobs.spool import Spools
from fedbus.core.actions import Action, Cancel, Introduce, Note, Send, WakeAt
from fedbus.core.events import (
    Connected,
    Event,
    Fetched,
    FetchFailed,
    Local,
    Ran,
    Received,
    RunFailed,
    Stopping,
    Woke,
)
from fedbus.core.keys import Key
from fedbus.errors import FedbusError, Stopped, TrainingError
from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.wire.documents import AgentFacts
from fedbus.wire.messages import (
    Evaluated,
    EvaluateTask,
    JobStopped,
    Receipt,
    StaleEpoch,
    StopJob,
    TaskTaken,
    TrainTask,
)
from fedbus.wire.topics import Topic
from fedbus_edge_agent import keys
from fedbus_edge_agent.host.counters import AgentCounters
from fedbus_edge_agent.host.data_watch import DataWatch, WatchedData
from fedbus_edge_agent.keys import StandaloneWork, TaskKey, TrainingWork, WorkKey
from fedbus_edge_agent.standalone.jobs import (
    CancelJob,
    HttpStarted,
    RoundResult,
    StandaloneJobs,
    StartJob,
)
from fedbus_edge_agent.tasks.eligibility import Eligibility, changed_names_reason, eligibility
from fedbus_edge_agent.tasks.inputs import TaskInputs
from fedbus_edge_agent.tasks.model_cache import CachedModels
from fedbus_edge_agent.tasks.replies import TaskReplies, declined
from fedbus_edge_agent.tasks.task import Order, Task, key_of
from fedbus_edge_agent.tasks.task_numbers import TaskNumbers
from fedbus_edge_agent.training.errors import describe_error
from fedbus_edge_agent.training.local_trainer import EvaluationResult, TaskRunner, TrainingResult
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.trainers import TaskChecker
from fedbus_edge_agent.training.watchdog import TrainingThread

STATE_REFRESH_SECONDS = 1.0
FACTS_VALID_SECONDS = 5.0
"""For so long what was measured of memory and storage is believed, unless it says no."""
ACKNOWLEDGE_SECONDS = 0.25
"""Before a controller asks again. A task that is over sooner saves both of us a message."""
MAX_EVALUATION_RESULTS = 64

FactsOf = Callable[[str, dict[str, int]], AgentFacts]
"""Makes an agent's facts from its running task and the models it holds."""


class AgentCore:
    """Tasks, one worked on at a time, and answers, until they may be forgotten."""

    listens: tuple[Topic, ...] = ()

    def __init__(  # noqa: PLR0913 - one argument for each thing an agent is given
        self,
        runner: TaskRunner,
        outbox: Outbox,
        spools: Spools,
        facts: FactsOf,
        *,
        worker: TrainingThread | None = None,
        standalone: StandaloneJobs | None = None,
        data: WatchedData | None = None,
    ) -> None:
        self.standalone = standalone or StandaloneJobs()
        self.counters = AgentCounters()
        self._runner = runner
        self._worker = worker or TrainingThread()
        self._standalone_first = False  # whether a standalone job has the worker's next turn
        self._replies = TaskReplies(outbox)
        self._facts = facts
        self._data_watch = DataWatch(data)
        self._measured: tuple[float, AgentFacts] | None = None
        self._epoch = 0
        self._controller = ""  # whoever gave the last order
        self._checker = runner if isinstance(runner, TaskChecker) else None  # not cheap to ask
        choose = None if self._checker is None else self._checker.choose
        self._inputs = TaskInputs(CachedModels(choose), spools)
        self._tasks: dict[TaskKey, Task] = {}
        self._newest = TaskNumbers()  # the highest training task it was given
        self._scores: dict[TaskKey, Evaluated] = {}
        self._introduced = ""

    def facts(self) -> AgentFacts | None:
        """What this agent can do, on what, and what it is doing."""
        self._introduced = self._doing()
        return self.known()

    def known(self) -> AgentFacts:
        """What this agent knows of itself at this moment."""
        facts = self._facts(self._doing(), self._inputs.models.held())
        return replace(facts, trouble=self._worker.trouble or self._data_watch.trouble)

    def under_way(self) -> dict[str, int]:
        """Count what is being done here for each job, waits included; standalone jobs as well."""
        return dict(Counter([*(key.job for key in self._tasks), *self.standalone.under_way()]))

    def progress(self) -> float:
        """Of the task that is worked on."""
        return self._worker.control.progress if self._worker.control else 0.0

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Decide what follows from an event."""
        match event:
            case Connected():
                yield from self._replies.begin()
                yield from self._data_watch.begin(now)
            case Ran(keys.DataReload()) | RunFailed(keys.DataReload()):
                self._measured = None  # its format may be another
                yield from self._data_watch.reloaded(now)
            case Received(sender, TrainTask() | EvaluateTask() | StopJob() as order):
                if order.epoch < self._epoch:
                    yield Send(sender, StaleEpoch(epoch=self._epoch))
                else:
                    self._epoch, self._controller = order.epoch, sender
                    yield from self._ordered(sender, order, now)
            case Received(_, Receipt(job=job, task=number, verdict="stored" | "drop")):
                yield from self._drop(TrainingWork(job, number))
                yield Cancel(keys.TaskAcknowledgement(job, number))
                yield from self._replies.settle(job, number)
            case Fetched(keys.TaskInputFetch(of, digest)) | FetchFailed(
                keys.TaskInputFetch(of, digest)
            ) if of in self._tasks:
                yield from self._went_on(self._tasks[of], digest, event, now)
            case Woke(key):
                yield from self._woke(key, now)
            case Ran(WorkKey() as key, result) | RunFailed(WorkKey() as key, result) if (
                key == self._worker.key
            ):
                yield from self._worked(key, result, now)
            case Local(order):
                yield from self._told(order, now)
            case Stopping():
                self.standalone.stop()
                for task in self._tasks.values():
                    task.control.stop()
            case _:
                pass

    def _told(self, order: StartJob | CancelJob | HttpStarted, now: float) -> Iterator[Action]:
        """Do what somebody wants at this agent's own door."""
        match order:
            case StartJob():
                yield from self.standalone.start(order)
                yield from self._go_on(now)
            case CancelJob(job):
                yield from self.standalone.cancel(job)
            case HttpStarted():
                yield from self._data_watch.begin(now)

    def _woke(self, key: Key, now: float) -> Iterator[Action]:
        match key:
            case keys.StateRefresh():
                if self._doing() != self._introduced:
                    yield Introduce()
            case keys.StallCheck():
                yield from self._look_at_worker(now)
            case keys.HungExit():
                yield from self._worker.leave()
            case keys.DataCheck():
                yield from self._data_watch.look(now)
            case keys.TaskAcknowledgement(job, number):
                yield Send(self._controller, TaskTaken(job=job, task=number))
            case keys.TaskInputRetry(waiting) if task := self._tasks.get(waiting):
                task.pausing = False
                yield from self._go_on(now)
            case _:
                pass

    # ── orders ────────────────────────────────────────────────────────────────────────────────────

    def _ordered(
        self, sender: str, order: TrainTask | EvaluateTask | StopJob, now: float
    ) -> Iterator[Action]:
        match order:
            case TrainTask(job=job, task=number):
                if number > self._newest[job] and not self._replies.settled(job, number):
                    yield WakeAt(keys.TaskAcknowledgement(job, number), now + ACKNOWLEDGE_SECONDS)
                else:  # it was asked again
                    yield Cancel(keys.TaskAcknowledgement(job, number))
                    yield Send(sender, TaskTaken(job=job, task=number))
                yield from self._train(sender, order, now)
            case EvaluateTask():
                score = self._scores.get(key_of(order))
                if score is not None:
                    yield Send(sender, score)
                elif key_of(order) not in self._tasks:  # else it is under way
                    yield from self._supersede(order)
                    yield from self._take(sender, order, now)
            case _:
                for key in [key for key in self._tasks if key.job == order.job]:
                    yield from self._drop(key)
                yield from self._replies.stop(order.job)
                yield Send(sender, JobStopped(job=order.job))
                yield from self._go_on(now)

    def _train(self, sender: str, order: TrainTask, now: float) -> Iterator[Action]:
        job, number = order.job, order.task
        if self._replies.given(job, number):
            yield from self._replies.again(job, number)
        elif self._replies.settled(job, number):
            # A collector that asks again was restarted: it must not wait for us.
            yield Send(order.collector, declined(order, "its update was already dealt with"))
        elif number >= self._newest[job]:  # else it was overtaken by a newer one
            self._newest.note(job, number)
            yield from self._supersede(order)
            yield from self._replies.pass_on(order)
            if key_of(order) not in self._tasks:
                yield from self._take(sender, order, now)

    def _recent(self, now: float) -> AgentFacts:
        """Facts of the last few seconds: to measure takes as long as a small task's other steps."""
        if self._measured is not None and now < self._measured[0] + FACTS_VALID_SECONDS:
            return self._measured[1]
        return self._measure(now)

    def _measure(self, now: float) -> AgentFacts:
        facts = self._facts(self._introduced, {})
        self._measured = now, facts
        return facts

    def _take(self, sender: str, order: Order, now: float) -> Iterator[Action]:
        """Take a task on, unless it is known already that it cannot be done here."""
        facts = self._recent(now)
        found = self._eligibility(order, facts)
        if found.reason:  # a few seconds ago there may have been less room
            found = self._eligibility(order, self._measure(now))
        task = Task(order, sender, found.format)
        if found.reason:
            yield from self._answer(task, None, found.reason)
            return
        self._tasks[task.key] = task
        if isinstance(order, TrainTask) and order.inline is not None:
            self._inputs.unpack(order.base, order.inline)
        yield WakeAt(keys.StateRefresh(), now + STATE_REFRESH_SECONDS)
        yield from self._go_on(now)

    def _eligibility(self, order: Order, facts: AgentFacts) -> Eligibility:
        if self._worker.trouble:
            return Eligibility(facts.format, self._worker.trouble)
        size = order.base.weights.size if isinstance(order, TrainTask) else None
        return eligibility(order.trainer, order.params, size, facts, self._checker)

    def _supersede(self, order: Order) -> Iterator[Action]:
        """Stop what is under way for an older task of the same kind and job."""
        new = key_of(order)
        for key in [*self._tasks]:
            if type(key) is type(new) and key.job == new.job and key.number < new.number:
                yield from self._drop(key)

    def _drop(self, key: TaskKey) -> Iterator[Action]:
        """Stop what is under way for a task."""
        task = self._tasks.pop(key, None)
        if task is not None:
            task.control.stop()
            yield from self._inputs.stop(task)

    # ── gathering and working ─────────────────────────────────────────────────────────────────────

    def _went_on(
        self, task: Task, digest: str, event: Fetched | FetchFailed, now: float
    ) -> Iterator[Action]:
        try:
            yield from self._inputs.arrived(task, digest, event, now)
        except FedbusError as error:
            yield from self._finish(task, error, now)
        yield from self._go_on(now)

    def _go_on(self, now: float) -> Iterator[Action]:
        """Work on the first task that has all it needs; fetch what the others lack."""
        if self._standalone_first:
            yield from self._start_round(now)
        for task in list(self._tasks.values()):
            if task.control is self._worker.control:
                continue
            try:
                yield from self._push(task, now)
            except FedbusError as error:
                yield from self._finish(task, error, now)
        yield from self._start_round(now)

    def _start_round(self, now: float) -> Iterator[Action]:
        """Give an idle worker the next round of a standalone job."""
        if (
            self._worker.idle
            and not self._worker.trouble
            and (lesson := self.standalone.next_round())
        ):
            key, control, call, note = lesson
            yield note
            yield from self._worker.begin(key, control, call, now)
            yield WakeAt(keys.StateRefresh(), now + STATE_REFRESH_SECONDS)

    def _push(self, task: Task, now: float) -> Iterator[Action]:
        missing = self._inputs.missing(task)
        idle = self._worker.idle
        if not missing:
            task.gathered = True
            if idle:
                yield from self._work(task, now)
        elif not task.pausing and (idle or not task.gathered):
            # Where others' weights took its weights' place, two that wait must not fetch in turns.
            yield from self._inputs.fetch(task, missing)

    def _work(self, task: Task, now: float) -> Iterator[Action]:
        blob = self._inputs.models.weights(task.ref)
        model = self._inputs.models.model(task.ref)
        order, runner = task.order, self._runner
        call: Callable[[], TrainingResult | EvaluationResult] = (
            partial(runner.train, order, model, blob, task.control)
            if isinstance(order, TrainTask)
            else partial(runner.evaluate, order, model, blob, task.control)
        )
        yield from self._worker.begin(task.key, task.control, call, now)

    def _worked(self, key: WorkKey, result: object, now: float) -> Iterator[Action]:
        """Take what came of the worker's work, well or not, and give it the next."""
        control = self._worker.control
        working = next((t for t in self._tasks.values() if t.control is control), None)
        yield from self._worker.ended()
        for happened, reason in control.notes if control is not None else ():
            yield Note(happened, {"work": key.words(), "reason": reason})
        self._standalone_first = not isinstance(key, StandaloneWork)
        if isinstance(key, StandaloneWork):
            yield from self._round_ended(key, result, now)
        elif working is not None:
            if self._data_watch.unsaid:
                result = yield from self._renewed(working, result, now)
            yield from self._finish(working, result, now)
        elif isinstance(result, TrainingResult):  # its task was dropped meanwhile
            yield self._replies.discard(result.kept.offer)
        yield from self._go_on(now)

    def _renewed(self, task: Task, result: object, now: float) -> Generator[Action, None, object]:
        """Announce the data that a task has found; it does not count if they have other names."""
        current = self._eligibility(task.order, self._measure(now))
        yield from self._data_watch.reloaded(now)
        reason = changed_names_reason(task.form, current.format)
        if not reason or isinstance(result, Exception):
            return result
        if isinstance(result, TrainingResult):
            yield self._replies.discard(result.kept.offer)
        return TrainingError(reason)

    def _round_ended(self, key: StandaloneWork, result: object, now: float) -> Iterator[Action]:
        yield from self.standalone.round_ended(key, result)
        self.counters.done(key.kind, "done" if isinstance(result, RoundResult) else "failed")
        if isinstance(result, RoundResult):
            self.counters.measured(key.job, key.number, result.metrics)
        yield WakeAt(keys.StateRefresh(), now + STATE_REFRESH_SECONDS)

    def _look_at_worker(self, now: float) -> Iterator[Action]:
        yield from self._worker.look(now)
        if self._worker.trouble:
            yield from self.standalone.fail_all(self._worker.trouble)
            for task in list(self._tasks.values()):
                yield from self._finish(task, TrainingError(self._worker.trouble), now)

    # ── answers ───────────────────────────────────────────────────────────────────────────────────

    def _finish(self, task: Task, result: object, now: float) -> Iterator[Action]:
        del self._tasks[task.key]
        yield from self._inputs.stop(task)
        reason = ""
        if isinstance(result, Exception):
            self._inputs.models.forget_weights(task.ref)
            reason = describe_error(result)
        if not isinstance(result, Stopped):  # else the process is leaving
            yield from self._answer(task, result, reason)
        yield WakeAt(keys.StateRefresh(), now + STATE_REFRESH_SECONDS)

    def _answer(self, task: Task, result: object, reason: str) -> Iterator[Action]:
        order, kind = task.order, task.key.kind
        self.counters.done(kind, "declined" if reason else "done")
        if isinstance(order, TrainTask):
            if isinstance(result, TrainingResult):
                self.counters.measured(order.job, order.round, result.kept.offer.metrics)
                yield from self._replies.offer(result)
            else:
                yield from self._replies.decline(order, reason)
        elif isinstance(result, EvaluationResult):
            score = _scored(order, result.examples, result.metrics, "")
            while len(self._scores) >= MAX_EVALUATION_RESULTS:
                del self._scores[next(iter(self._scores))]
            self._scores[task.key] = score  # the controller asks until it has heard it
            yield Send(task.controller, score)
        else:
            yield Send(task.controller, _scored(order, 0, {}, reason))

    def _doing(self) -> str:
        tasks = [*self._tasks.values()]
        task = next(
            (t for t in tasks if t.control is self._worker.control), next(iter(tasks), None)
        )
        key = self._worker.key if task is None else task.key
        return " ".join(map(str, key.words())) if key else ""


def _scored(
    order: EvaluateTask, examples: int, metrics: dict[str, float], reason: str
) -> Evaluated:
    return Evaluated(
        job=order.job,
        version=order.version.version,
        examples=examples,
        metrics=metrics,
        reason=reason[:MAX_TEXT_CHARACTERS],
    )
