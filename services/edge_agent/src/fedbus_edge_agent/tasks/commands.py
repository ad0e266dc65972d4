"""Commands of controllers: tasks and stops, which an older controller may send too. Pure."""

from collections.abc import Iterator

from fedbus.core.actions import Action, Cancel, Send, WakeAt
from fedbus.wire.messages import (
    EvaluateTask,
    FeatureTask,
    JobStopped,
    StaleEpoch,
    StopJob,
    TaskTaken,
    TrainTask,
)
from fedbus_edge_agent import keys
from fedbus_edge_agent.masking.masked_tasks import MaskedTasks
from fedbus_edge_agent.mistnet.feature_answers import FeatureAnswers, refusal_of
from fedbus_edge_agent.scheduler import WorkScheduler
from fedbus_edge_agent.tasks.acceptance import TaskAcceptance
from fedbus_edge_agent.tasks.inputs import TaskInputs
from fedbus_edge_agent.tasks.replies import TaskReplies, decline_of
from fedbus_edge_agent.tasks.results import TaskResults
from fedbus_edge_agent.tasks.task import Task, TaskMessage, key_of
from fedbus_edge_agent.tasks.task_numbers import TaskNumbers

ACKNOWLEDGE_SECONDS = 0.25
"""Less than a controller's first repetition. A shorter task needs no acknowledgement."""


class ControllerCommands:
    """Does what the newest controller asks for, and notifies an older one of the newer one.

    A repeated command has the same answer, whatever has happened to its task meanwhile.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - one argument for each part of the agent
        self,
        scheduler: WorkScheduler,
        acceptance: TaskAcceptance,
        inputs: TaskInputs,
        results: TaskResults,
        replies: TaskReplies,
        features: FeatureAnswers,
        masked: MaskedTasks | None = None,
    ) -> None:
        self._masked = masked
        self._scheduler = scheduler
        self._acceptance = acceptance
        self._inputs = inputs
        self._results = results
        self._replies = replies
        self._features = features
        self._epoch = 0
        self._controller = ""  # the sender of the last task or stop
        self._newest = TaskNumbers()  # of training tasks, accepted or not

    def receive(self, sender: str, message: TaskMessage | StopJob, now: float) -> Iterator[Action]:
        """Handle a command, unless a newer controller has sent one."""
        if message.epoch < self._epoch:
            yield Send(sender, StaleEpoch(epoch=self._epoch))
        else:
            self._epoch, self._controller = message.epoch, sender
            yield from self._handle(sender, message, now)

    def taken(self, job: str, number: int) -> Send:
        """Return the message that this agent works on a task; the controller repeats it no more."""
        return Send(self._controller, TaskTaken(job=job, task=number))

    def _handle(self, sender: str, message: TaskMessage | StopJob, now: float) -> Iterator[Action]:
        match message:
            case TrainTask():
                yield from self._acknowledge(sender, message, now)
                yield from self._handle_train_task(sender, message, now)
            case EvaluateTask():
                key = key_of(message)
                if evaluated := self._results.evaluations.get(key):
                    yield Send(sender, evaluated)
                elif key not in self._scheduler.tasks:
                    yield from self._scheduler.drop_older(key)
                    yield from self._accept(sender, message, now)
            case FeatureTask(job=job, task=number):
                if self._features.has(job):
                    yield from self._features.repeat(sender, message)
                elif self._replies.is_settled(job, number):
                    yield Send(sender, refusal_of(message, "the job has ended"))
                elif not self._scheduler.makes_features(job):
                    yield from self._accept(sender, message, now)
            case StopJob(job=job):
                for key in [key for key in self._scheduler.tasks if key.job == job]:
                    yield from self._scheduler.drop(key)
                yield from self._replies.stop(job)
                yield from self._features.stop(job)
                self._inputs.features.stop(job)
                if self._masked is not None:
                    yield from self._masked.stop(job)
                yield Send(sender, JobStopped(job=job))
                yield from self._scheduler.begin_next(now)

    def _acknowledge(self, sender: str, message: TrainTask, now: float) -> Iterator[Action]:
        job, number = message.job, message.task
        acknowledgement = keys.TaskAcknowledgement(job, number)
        if number > self._newest[job] and not self._replies.is_settled(job, number):
            yield WakeAt(acknowledgement, now + ACKNOWLEDGE_SECONDS)
        else:  # the controller repeated the task
            yield Cancel(acknowledgement)
            yield Send(sender, TaskTaken(job=job, task=number))

    def _handle_train_task(self, sender: str, message: TrainTask, now: float) -> Iterator[Action]:
        job, number, key = message.job, message.task, key_of(message)
        if self._replies.is_open(job, number):
            yield from self._replies.repeat(job, number)
        elif self._replies.is_settled(job, number):
            # The collector was restarted, and must not wait for this agent.
            yield Send(message.collector, decline_of(message, "its update was already dealt with"))
        elif number >= self._newest[job]:  # else a newer task has overtaken this one
            self._newest.record(job, number)
            yield from self._scheduler.drop_older(key)
            if self._masked is not None:
                yield from self._masked.end_older(job, number)
            yield from self._replies.redirect(message)
            if key not in self._scheduler.tasks:
                yield from self._accept(sender, message, now)

    def _accept(self, sender: str, message: TaskMessage, now: float) -> Iterator[Action]:
        """Begin with a task, or report why this agent cannot do it."""
        found = self._acceptance.eligibility(message, now)
        task = Task(message, sender, found.format)
        if found.reason:
            yield from self._results.report(task, None, found.reason)
            return
        if self._masked is not None and isinstance(message, TrainTask):
            self._masked.accept(message)
        self._inputs.models.use(task.ref, private=task.private)
        if isinstance(message, TrainTask) and message.inline is not None:
            self._inputs.unpack(message.base, message.inline)
        yield from self._scheduler.add(task, now)
