"""Steps of one masked task on this agent, and the masking of its update. Called in threads."""

from dataclasses import replace
from threading import Lock

from fedbus.errors import MaskingError
from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.secure_aggregation.agent_steps import AgentSteps
from fedbus.secure_aggregation.masked_blob import masked_header
from fedbus.secure_aggregation.masked_task import MaskedTask
from fedbus.wire.messages import Step, StepReply, TrainTask
from fedbus_edge_agent.masking.step_journal import JournalledTask, StepJournals
from fedbus_edge_agent.masking.unmasked_update import UnmaskedUpdate
from fedbus_edge_agent.training.finished_training import store_finished
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.sealed_update import SealedUpdate
from fedbus_edge_agent.training.task_runner import TrainingResult


class MaskedWork:
    """One task: each call holds a lock, so that the journal and the steps agree.

    Attributes:
        task: The task, and who asks.
        steps: Its steps.
        answering: Whether a thread answers a step.
    """

    def __init__(self, task: JournalledTask, steps: AgentSteps, journals: StepJournals) -> None:
        self.task = task
        self.steps = steps
        self.answering = False
        self._journals = journals
        self._written = b""
        self._lock = Lock()

    def answer(self, step: Step) -> StepReply:
        """Return the reply to a step, once the journal has it; a refusal has a reason.

        Raises:
            StoreError: The journal cannot be written, so nothing may be said.
        """
        reply = StepReply(job=step.job, round=step.round, task=step.task, step=step.step)
        with self._lock:
            try:
                content = self.steps.answer(step.step, step.content)
            except MaskingError as error:
                return replace(reply, reason=str(error)[:MAX_TEXT_CHARACTERS])
            self._save()
        return replace(reply, content=content)

    def mask(self, message: TrainTask, update: UnmaskedUpdate, outbox: Outbox) -> TrainingResult:
        """Mask an update, and store it; the journal then says that this was done.

        Raises:
            MaskingError: An update of this task was masked already.
            StoreError: The disk is full; nothing is left of the update.
        """
        terms = self.task.terms
        header = masked_header(
            layout=update.layout,
            task=masked_task(self.task),
            fixed_point=terms.fixed_point,
            ranges=message.ranges,
            max_examples=message.max_examples,
            weight=update.report.examples,
        )
        with self._lock:
            blob = self.steps.mask_update(update.numbers, header)
            result = store_finished(
                outbox, message, update.layout, SealedUpdate(blob), update.report, update.own
            )
            try:
                self._save()
            except Exception:
                outbox.settle(result.stored, counted=False)
                raise
        return result

    def _save(self) -> None:
        steps = self.steps.to_bytes()
        if steps != self._written:
            self._journals.save(self.task, steps)
            self._written = steps


def masked_task(task: JournalledTask) -> MaskedTask:
    """Return what the keys and masks of a task are bound to."""
    return MaskedTask(job=task.job, round=task.round, task=task.task)
