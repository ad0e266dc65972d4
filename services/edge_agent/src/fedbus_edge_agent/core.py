"""Decisions of an agent: which tasks it accepts, and what follows from each event. Pure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from fedbus.blobs.spool import Spools
from fedbus.core.actions import Action, AnnounceEncryptionKey, Cancel, Introduce, Note
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
from fedbus.core.interface import Core
from fedbus.core.keys import Key
from fedbus.encryption.key_files import SecretKey
from fedbus.wire.documents import AgentFacts, NodeIdentity
from fedbus.wire.messages import (
    EvaluateTask,
    FeatureTask,
    Receipt,
    Step,
    StopJob,
    TrainTask,
)
from fedbus_edge_agent import keys
from fedbus_edge_agent.host.counters import AgentCounters
from fedbus_edge_agent.host.data_watch import DataWatch, WatchedData
from fedbus_edge_agent.keys import TrainingWork, WorkKey
from fedbus_edge_agent.masking.masked_tasks import MaskedTasks
from fedbus_edge_agent.mistnet.feature_answers import FeatureAnswers
from fedbus_edge_agent.mistnet.feature_inputs import FeatureInputs
from fedbus_edge_agent.mistnet.received_features import ReceivedFeatureFiles
from fedbus_edge_agent.mistnet.sent_features import SentFeatureFiles
from fedbus_edge_agent.scheduler import WorkScheduler
from fedbus_edge_agent.standalone.jobs import CancelJob, HttpStarted, StandaloneJobs, StartJob
from fedbus_edge_agent.tasks.acceptance import MeasureFacts, TaskAcceptance
from fedbus_edge_agent.tasks.commands import ControllerCommands
from fedbus_edge_agent.tasks.inputs import TaskInputs
from fedbus_edge_agent.tasks.model_cache import CachedModels
from fedbus_edge_agent.tasks.replies import TaskReplies
from fedbus_edge_agent.tasks.results import TaskResults
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.required_protection import RequiredProtection
from fedbus_edge_agent.training.task_runner import TaskRunner
from fedbus_edge_agent.training.trainers import TaskChecker
from fedbus_edge_agent.training.watchdog import TrainingThread


class AgentCore(Core):
    """An agent without clock, network and threads."""

    def __init__(  # noqa: PLR0913 - one argument for each part that an agent is given
        self,
        runner: TaskRunner,
        outbox: Outbox,
        spools: Spools,
        measure: MeasureFacts,
        *,
        thread: TrainingThread | None = None,
        standalone: StandaloneJobs | None = None,
        data: WatchedData | None = None,
        encryption_key: SecretKey | None = None,
        masked: MaskedTasks | None = None,
        required: RequiredProtection = "none",
    ) -> None:
        self.standalone = standalone or StandaloneJobs()
        self.counters = AgentCounters()
        self._measure = measure
        self._thread = thread or TrainingThread()
        self._data_watch = DataWatch(data)
        self._replies = TaskReplies(outbox)
        self._masked = masked
        if masked is not None:
            masked.load(self._replies.is_open)
        self._features = FeatureAnswers(SentFeatureFiles.of(outbox.folder))
        received = FeatureInputs(ReceivedFeatureFiles.of(outbox.folder))
        self._results = TaskResults(self._replies, self.counters, self._features)
        checker = runner if isinstance(runner, TaskChecker) else None
        self._inputs = TaskInputs(
            CachedModels(checker.choose if checker else None), spools, received
        )
        self._encryption_key = encryption_key
        self._acceptance = TaskAcceptance(
            checker, measure, self._thread, self._data_watch, encryption_key, masked, required
        )
        self._scheduler = WorkScheduler(
            runner,
            self._thread,
            self.standalone,
            self._inputs,
            self._acceptance,
            self._results,
            masked,
        )
        self._commands = ControllerCommands(
            self._scheduler,
            self._acceptance,
            self._inputs,
            self._results,
            self._replies,
            self._features,
            masked,
        )
        self._published_task = ""
        self._free_at_start: tuple[int, int] | None = None  # MiB of memory and of storage

    def facts(self) -> AgentFacts | None:
        """Return the facts to publish, with the memory and storage that were free at the start.

        All users may read them: figures of now would tell when an agent trains in private.
        """
        self._published_task = self._running_task()
        found = self.current_facts()
        if self._free_at_start is None:
            self._free_at_start = found.memory_mb, found.storage_mb
        memory, storage = self._free_at_start
        return replace(found, memory_mb=memory, storage_mb=storage)

    def current_facts(self) -> AgentFacts:
        """Measure and return this agent's facts."""
        facts = self._measure(self._running_task(), self._inputs.models.sizes())
        return replace(facts, trouble=self._thread.trouble or self._data_watch.trouble)

    def active_jobs(self) -> dict[str, int]:
        """Return the number of waiting and running trainings and evaluations of each job.

        Private trainings are left out: that an agent takes part in one is secret.
        """
        tasks = (key.job for key, task in self._scheduler.tasks.items() if not task.private)
        return dict(Counter([*tasks, *self.standalone.active()]))

    def progress(self) -> float:
        """Return the progress of the running task or round, 0 to 1; 0 in a private training."""
        if self._thread.control is None or self._scheduler.private:
            return 0.0
        return self._thread.control.progress

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Decide what follows from an event."""
        if self._masked is not None:
            yield from self._handle_step(self._masked, event, now)
        match event:
            case Connected():
                if self._encryption_key is not None:
                    yield AnnounceEncryptionKey(self._encryption_key.id)
                yield from self._replies.begin()
                yield from self._features.begin()
                yield from self._data_watch.begin(now)
            case Ran(keys.DataReload()) | RunFailed(keys.DataReload()):
                self._acceptance.forget_facts()
                yield from self._data_watch.announce(now)
            case Received(
                sender, TrainTask() | EvaluateTask() | FeatureTask() | StopJob() as message
            ):
                yield from self._commands.receive(sender, message, now)
            case Received(_, Receipt(job=job, task=number, verdict="stored" | "drop" as verdict)):
                yield from self._scheduler.drop(TrainingWork(job, number))
                yield Cancel(keys.TaskAcknowledgement(job, number))
                yield from self._replies.settle(job, number, counted=verdict == "stored")
            case Ran(keys.UpdateRemoval()) | RunFailed(keys.UpdateRemoval()):
                yield from self._handle_removal(event, now)
            case Fetched(keys.TaskInputFetch(key, digest)) | FetchFailed(
                keys.TaskInputFetch(key, digest)
            ) if task := self._scheduler.tasks.get(key):
                yield from self._scheduler.fetch_ended(task, digest, event, now)
            case Woke(key):
                yield from self._handle_timer(key, now)
            case Ran(WorkKey() as key, result) | RunFailed(WorkKey() as key, result) if (
                key == self._thread.key
            ):
                yield from self._scheduler.work_ended(key, result, now)
            case Local(request):
                yield from self._handle_local(request, now)
            case Stopping():
                self.standalone.stop()
                for task in self._scheduler.tasks.values():
                    task.control.stop()

    def _handle_local(self, request: object, now: float) -> Iterator[Action]:
        match request:
            case StartJob():
                yield from self.standalone.start(request)
                yield from self._scheduler.begin_next(now)
            case CancelJob(job):
                yield from self.standalone.cancel(job)
            case HttpStarted():
                yield from self._data_watch.begin(now)

    def _handle_step(self, masked: MaskedTasks, event: Event, now: float) -> Iterator[Action]:
        """Decide what follows from an event for masked tasks, before all else."""
        match event:
            case Connected():
                yield from masked.begin()
            case Received(_, Receipt(job=job, task=number, verdict="stored" | "drop")):
                yield from masked.end(job, number)
            case Received(sender, Step() as step):
                yield from masked.receive(sender, step, now)
            case Received(sender, NodeIdentity() as identity):
                yield from masked.identity_announced(sender, identity)
            case Woke(keys.IdentityWait() as key):
                yield from masked.identities_late(key)
            case RunFailed(keys.StepAnswer() as key, error):
                yield from masked.answer_failed(key, error)
            case Ran(keys.StepAnswer() as key, reply):
                yield from masked.answered(key, reply)
                yield from self._scheduler.begin_next(now)  # an update may have waited for it

    def _handle_removal(self, event: Event, now: float) -> Iterator[Action]:
        match event:
            case Ran(keys.UpdateRemoval() as key, settled) if self._replies.removed(key):
                for kind in settled:
                    yield Note(f"{kind}_lost", {"job": key.job, "task": key.task})
                yield from self._replies.remove_own_state(key.job)
                yield from self._scheduler.begin_next(now)  # a task may have waited for it
            case RunFailed(keys.UpdateRemoval() as key, error):
                yield from self._replies.removal_failed(key, error, now)

    def _handle_timer(self, key: Key, now: float) -> Iterator[Action]:
        match key:
            case keys.StateRefresh():
                if self._running_task() != self._published_task:
                    yield Introduce()
            case keys.StallCheck():
                yield from self._scheduler.check_thread(now)
            case keys.HungExit():
                yield from self._thread.exit_if_hung()
            case keys.DataCheck():
                yield from self._data_watch.check(now)
            case keys.UpdateRemovalRetry() as retry:
                yield from self._replies.retry_removal(retry)
            case keys.TaskAcknowledgement(job, number):
                yield self._commands.taken(job, number)
            case keys.TaskInputRetry(waiting) if task := self._scheduler.tasks.get(waiting):
                task.paused = False
                yield from self._scheduler.begin_next(now)

    def _running_task(self) -> str:
        key = None if self._scheduler.private else self._scheduler.running()
        return " ".join(map(str, key.parts())) if key else ""
