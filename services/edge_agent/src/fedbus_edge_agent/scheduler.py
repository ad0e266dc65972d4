"""Schedule of the training thread: tasks whose inputs are complete and standalone rounds. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from fedbus.core.actions import Action, Note, WakeAt
from fedbus.core.events import Fetched, FetchFailed
from fedbus.errors import FedbusError, Stopped, TrainingError
from fedbus.wire.messages import EvaluateTask, FeatureTask, TrainTask
from fedbus.wire.secure_aggregation import SecureAggregationTerms
from fedbus_edge_agent.keys import FeatureWork, StandaloneWork, StateRefresh, TaskKey, WorkKey
from fedbus_edge_agent.masking.masked_runner import MaskedRunner
from fedbus_edge_agent.masking.masked_tasks import MaskedTasks
from fedbus_edge_agent.masking.unmasked_update import UnmaskedUpdate
from fedbus_edge_agent.mistnet.feature_runner import FeatureRunner
from fedbus_edge_agent.standalone.jobs import RoundResult, StandaloneJobs
from fedbus_edge_agent.tasks.acceptance import TaskAcceptance
from fedbus_edge_agent.tasks.inputs import TaskInputs
from fedbus_edge_agent.tasks.results import TaskResults
from fedbus_edge_agent.tasks.task import Task
from fedbus_edge_agent.training.errors import describe_error
from fedbus_edge_agent.training.task_runner import EvaluationResult, TaskRunner, TrainingResult
from fedbus_edge_agent.training.watchdog import TrainingThread

if TYPE_CHECKING:
    from fedbus_edge_agent.mistnet.feature_answers import NewFeatures

STATE_REFRESH_SECONDS = 1.0
"""Delay after which a changed state is published: a short task is over by then."""


@dataclass(slots=True)
class WorkScheduler:
    """Accepted tasks, and which of them or of the standalone jobs the training thread runs next.

    Tasks and standalone rounds take turns. A task is in `tasks` until its result is reported.
    """

    runner: TaskRunner
    thread: TrainingThread
    standalone: StandaloneJobs
    inputs: TaskInputs
    acceptance: TaskAcceptance
    results: TaskResults
    masked: MaskedTasks | None = None
    tasks: dict[TaskKey, Task] = field(default_factory=dict)
    _standalone_first: bool = False  # a task ran last

    def running(self) -> WorkKey | None:
        """Return the key of the running work, else of the oldest task, else None."""
        task = self._running_task() or next(iter(self.tasks.values()), None)
        return self.thread.key if task is None else task.key

    def makes_features(self, job: str) -> bool:
        """Return whether a task to make features of a job waits or runs: it is the only one."""
        return any(isinstance(key, FeatureWork) and key.job == job for key in self.tasks)

    @property
    def private(self) -> bool:
        """Whether a private training runs; with an idle thread, whether the oldest task is one."""
        oldest = next((task.control for task in self.tasks.values()), None)
        control = self.thread.control or oldest
        return control is not None and control.private

    def add(self, task: Task, now: float) -> Iterator[Action]:
        """Begin with an accepted task."""
        self.tasks[task.key] = task
        yield WakeAt(StateRefresh(), now + STATE_REFRESH_SECONDS)
        yield from self.begin_next(now)

    def drop(self, key: TaskKey) -> Iterator[Action]:
        """Cancel a task without a report."""
        task = self.tasks.pop(key, None)
        if task is not None:
            task.control.stop()
            yield from self.inputs.stop(task)

    def drop_older(self, new: TaskKey) -> Iterator[Action]:
        """Cancel the tasks of the same job and kind that a new one supersedes."""
        for key in [*self.tasks]:
            if type(key) is type(new) and key.job == new.job and key.number < new.number:
                yield from self.drop(key)

    def begin_next(self, now: float) -> Iterator[Action]:
        """Run the first task whose inputs are complete, and fetch what the others lack."""
        if self._standalone_first:
            yield from self._begin_round(now)
        for task in list(self.tasks.values()):
            if task.control is self.thread.control:
                continue
            try:
                yield from self._advance(task, now)
            except FedbusError as error:
                yield from self._finish(task, error, now)
        yield from self._begin_round(now)

    def fetch_ended(
        self, task: Task, digest: str, event: Fetched | FetchFailed, now: float
    ) -> Iterator[Action]:
        """Continue a task after a download."""
        try:
            yield from self.inputs.fetch_ended(task, digest, event, now)
        except FedbusError as error:
            yield from self._finish(task, error, now)
        yield from self.begin_next(now)

    def work_ended(self, key: WorkKey, result: object, now: float) -> Iterator[Action]:
        """Report the result or the exception of the thread's work, and begin the next."""
        control, task = self.thread.control, self._running_task()
        yield from self.thread.ended()
        for event, reason in control.notes if control is not None else ():
            yield Note(event, {"work": key.parts(), "reason": reason})
        self._standalone_first = not isinstance(key, StandaloneWork)
        if isinstance(key, StandaloneWork):
            yield from self._round_ended(key, result, now)
        elif task is not None:
            confirmed = yield from self.acceptance.confirm(task, result, now)
            if isinstance(result, TrainingResult) and confirmed is not result:
                yield self.results.replies.discard(result)
            if isinstance(key, FeatureWork) and confirmed is not result:
                yield from self.results.features.drop(key.job, result)
            if isinstance(confirmed, UnmaskedUpdate):
                task.unmasked = confirmed
            else:
                yield from self._finish(task, confirmed, now)
        elif isinstance(result, TrainingResult):  # its task was dropped
            yield self.results.replies.discard(result)
        elif isinstance(key, FeatureWork):
            yield from self.results.features.drop(key.job, result)
        yield from self.begin_next(now)

    def check_thread(self, now: float) -> Iterator[Action]:
        """Check the training thread; if it hangs, all tasks and standalone jobs fail."""
        yield from self.thread.check(now)
        if self.thread.trouble:
            yield from self.standalone.fail_all(self.thread.trouble)
            for task in list(self.tasks.values()):
                yield from self._finish(task, TrainingError(self.thread.trouble), now)

    def _running_task(self) -> Task | None:
        control = self.thread.control
        return next((task for task in self.tasks.values() if task.control is control), None)

    def _advance(self, task: Task, now: float) -> Iterator[Action]:
        message = task.message
        if task.unmasked is not None:
            yield from self._mask(task, task.unmasked, now)
            return
        waits = isinstance(message, TrainTask) and self.results.replies.awaits_receipt(message)
        if waits and task.inputs_complete:
            return
        missing = self.inputs.missing(task)
        if not missing:
            task.inputs_complete = True
            if self.thread.idle and not waits:
                yield from self._run(task, now)
        elif not task.paused and (self.thread.idle or not task.inputs_complete):
            # Two waiting tasks whose weights replace each other must not fetch in turns.
            yield from self.inputs.fetch(task, missing)

    def _mask(self, task: Task, update: UnmaskedUpdate, now: float) -> Iterator[Action]:
        """Have the update of a masked task masked, once its masks are agreed on."""
        message = task.message
        if self.masked is None or not isinstance(message, TrainTask) or not self.thread.idle:
            return
        if call := self.masked.masking_of(message, update):
            task.unmasked = None
            yield from self.thread.begin(task.key, task.control, call, now)

    def _run(self, task: Task, now: float) -> Iterator[Action]:
        weights = self.inputs.models.weights(task.ref)
        model = self.inputs.models.model(task.ref)
        message, runner, control = task.message, self.runner, task.control
        call: Callable[[], TrainingResult | UnmaskedUpdate | EvaluationResult | NewFeatures]
        match message:
            case EvaluateTask():
                call = partial(runner.evaluate, message, model, weights, control)
            case TrainTask(masking=SecureAggregationTerms()):
                if not isinstance(runner, MaskedRunner) or message.feature_terms is not None:
                    raise TrainingError("this agent's trainers take no part in masked rounds")
                beside = self.inputs.of_strategy(message)
                call = partial(runner.train_to_mask, message, model, weights, control, beside)
            case TrainTask(feature_terms=None):
                beside = self.inputs.of_strategy(message)
                call = partial(runner.train, message, model, weights, control, beside)
            case _ if not isinstance(runner, FeatureRunner):
                raise TrainingError("this agent's trainers take no part in MistNet jobs")
            case FeatureTask():
                call = partial(runner.make_features, message, model, weights, control)
            case TrainTask():
                state, spools = self.inputs.state(message), self.inputs.features.spools(message)
                parts = message, model, weights, control, state, spools
                call = partial(runner.train_on_features, *parts)
        yield from self.thread.begin(task.key, task.control, call, now)

    def _finish(self, task: Task, result: object, now: float) -> Iterator[Action]:
        del self.tasks[task.key]
        yield from self.inputs.stop(task)
        reason = ""
        if isinstance(result, Exception):
            self.inputs.drop(task)
            reason = describe_error(result)
        if not isinstance(result, Stopped):  # else the process exits
            yield from self.results.report(task, result, reason)
        yield WakeAt(StateRefresh(), now + STATE_REFRESH_SECONDS)

    def _begin_round(self, now: float) -> Iterator[Action]:
        if self.thread.usable and (following := self.standalone.next_round()):
            key, control, call, report = following
            yield report
            yield from self.thread.begin(key, control, call, now)
            yield WakeAt(StateRefresh(), now + STATE_REFRESH_SECONDS)

    def _round_ended(self, key: StandaloneWork, result: object, now: float) -> Iterator[Action]:
        yield from self.standalone.round_ended(key, result)
        counters = self.results.counters
        counters.count(key.kind, "done" if isinstance(result, RoundResult) else "failed")
        if isinstance(result, RoundResult):
            counters.record_metrics(key.job, key.number, result.metrics)
        yield WakeAt(StateRefresh(), now + STATE_REFRESH_SECONDS)
