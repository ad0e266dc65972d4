"""Acceptance of tasks before their inputs are fetched, and of results after data changed. Pure."""

from collections.abc import Callable, Generator
from dataclasses import dataclass

from fedbus.core.actions import Action
from fedbus.encryption.key_files import SecretKey
from fedbus.errors import FedbusError, MaskingError, TrainingError
from fedbus.wire.blobs import ModelRef
from fedbus.wire.documents import AgentFacts
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.host.data_watch import DataWatch
from fedbus_edge_agent.masking.masked_tasks import MaskedTasks
from fedbus_edge_agent.tasks.eligibility import (
    NO_ARRAYS,
    Eligibility,
    StrategySizes,
    changed_names_reason,
    eligibility,
)
from fedbus_edge_agent.tasks.task import Task, TaskMessage
from fedbus_edge_agent.training.compressed_update import (
    check_compression,
    compression_copies,
    keeps_residual,
)
from fedbus_edge_agent.training.encrypted_task import check_encrypted_task
from fedbus_edge_agent.training.hidden_privacy import check_hidden_privacy
from fedbus_edge_agent.training.private_task import check_private_task
from fedbus_edge_agent.training.readable_version import check_download
from fedbus_edge_agent.training.required_protection import RequiredProtection, check_protection
from fedbus_edge_agent.training.trainers import TaskChecker
from fedbus_edge_agent.training.watchdog import TrainingThread

FACTS_VALID_SECONDS = 5.0
"""How long measured memory and storage are reused: a measurement takes as long as a small task."""

MeasureFacts = Callable[[str, dict[str, int]], AgentFacts]
"""Returns an agent's facts, given its running task and the size in bytes of each cached model."""


@dataclass(slots=True)
class TaskAcceptance:
    """Judges tasks with facts that are at most a few seconds old."""

    checker: TaskChecker | None
    measure: MeasureFacts
    thread: TrainingThread
    data_watch: DataWatch
    encryption_key: SecretKey | None = None
    masked: MaskedTasks | None = None
    required: RequiredProtection = "none"
    _measured: tuple[float, AgentFacts] | None = None

    def eligibility(self, message: TaskMessage, now: float) -> Eligibility:
        """Judge a task; before it is rejected, the facts are measured again."""
        if self._measured is not None and now < self._measured[0] + FACTS_VALID_SECONDS:
            found = self._judge(message, self._measured[1])
            if not found.reason:
                return found
        return self._judge(message, self._measure_now(now))

    def forget_facts(self) -> None:
        """Measure again for the next task: the data changed."""
        self._measured = None

    def confirm(self, task: Task, result: object, now: float) -> Generator[Action, None, object]:
        """Announce new data that a task has loaded, and return its result, or an error instead.

        A result does not count if the data's names differ from those when the task was accepted.
        """
        if not self.data_watch.unannounced:
            return result
        current = self._judge(task.message, self._measure_now(now))
        yield from self.data_watch.announce(now)
        reason = changed_names_reason(task.data_format, current.format)
        if not reason or isinstance(result, Exception):
            return result
        return TrainingError(reason)

    def _measure_now(self, now: float) -> AgentFacts:
        facts = self.measure("", {})
        self._measured = now, facts
        return facts

    def _judge(self, message: TaskMessage, facts: AgentFacts) -> Eligibility:
        if self.thread.trouble:
            return Eligibility(facts.format, self.thread.trouble)
        size, arrays, privacy = None, NO_ARRAYS, None
        try:
            check_protection(message, self.required)
            check_encrypted_task(message, self.encryption_key)
            if isinstance(message, TrainTask):
                self._check_masked_task(message)
                check_private_task(message)
                check_hidden_privacy(message)
                check_compression(message)
                check_download(message.base)
        except FedbusError as error:
            return Eligibility(facts.format, str(error))
        if isinstance(message, TrainTask):
            size, state, privacy = _plain_bytes(message.base), message.state, message.privacy
            arrays = StrategySizes(
                len(message.sections),
                0 if state is None else state.size,
                encrypted=message.encryption is not None,
                masked=message.masking is not None,
                compression=compression_copies(message),
                residual=keeps_residual(message),
            )
        return eligibility(
            message.trainer, message.params, size, facts, self.checker, arrays, privacy
        )

    def _check_masked_task(self, message: TrainTask) -> None:
        """Raise MaskingError if this agent cannot take part in a masked round."""
        if message.masking is None:
            return
        if self.masked is None:
            raise MaskingError("this agent cannot mask updates: install fedbus[secure-aggregation]")
        if fault := self.masked.fault(message):
            raise MaskingError(fault)


def _plain_bytes(base: ModelRef) -> int:
    """Return the size of a version's readable weights."""
    encryption = base.encryption
    return base.weights.size if encryption is None else encryption.anchor_weights.size
