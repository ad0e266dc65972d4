"""Trainer and journals of an agent in masked rounds, recorded, with names for their steps."""

from dataclasses import dataclass
from typing import Any

from fedbus.simulation.masked_records import UpdateBeforeMask
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.masking.step_journal import JournalledTask, StepJournals
from fedbus_edge_agent.masking.unmasked_update import UnmaskedUpdate
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from tests.recorded_outbox import AgentRecords, OnStep


class RecordedTrainer(LocalTrainer):
    """Trainer of an agent that records what is masked later."""

    def record(self, agent: str, records: AgentRecords) -> None:
        """Record from now on."""
        self._agent, self._records = agent, records

    def train_to_mask(self, task: TrainTask, *given: Any, **more: Any) -> UnmaskedUpdate:  # noqa: ANN401 - as `LocalTrainer`
        """Record an update that is to be masked."""
        left = super().train_to_mask(task, *given, **more)
        self._records.unmasked[task.job, self._agent, task.task] = UpdateBeforeMask(
            numbers=left.numbers.copy(), ranges=task.ranges, max_examples=task.max_examples
        )
        return left


@dataclass(frozen=True, kw_only=True)
class RecordedJournals(StepJournals):
    """Journals of an agent, on whose writing it can be killed."""

    on_step: OnStep

    def save(self, task: JournalledTask, steps: bytes) -> None:
        """Name the steps."""
        self.on_step("journal:save")
        super().save(task, steps)
        self.on_step("journal:saved")

    def remove(self, job: str, task: int) -> None:
        """Name the step."""
        self.on_step("journal:remove")
        super().remove(job, task)
