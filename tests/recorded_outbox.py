"""Outbox that records what strategies keep on an agent, and names the steps of its calls."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedbus.blobs.files import FileBlob
from fedbus.model.blob_header import Blob
from fedbus.model.layout import Layout, Weights
from fedbus.simulation.control_variates import OwnVariates
from fedbus.simulation.masked_records import MaskedName, UpdateBeforeMask
from fedbus.wire.messages import Offer, TrainTask
from fedbus_edge_agent.training.outbox import Outbox, StoredOffer
from fedbus_edge_agent.training.own_state import OwnStates
from fedbus_edge_agent.training.residuals import Residuals

OnStep = Callable[[str], None]
"""Called before each step inside a call, such as `outbox:save`; may raise `Killed`."""
Own = NDArray[np.float32]
TaskOfAgent = tuple[str, str, int]
"""(job, agent, task)."""


@dataclass(frozen=True, slots=True)
class AgentRecords:
    """What agents made and kept, over all their restarts.

    Attributes:
        updates: The update of each task.
        begun: The own state that the last training of a task began with; None for zeros.
        made: The own state that the task would leave.
        adopted: Tasks whose own state was adopted, in that order.
        residual_begun: The residual that the last training of a task began with; None for zeros.
        residual_made: The residual that the task would leave.
        residual_adopted: Tasks whose residual was adopted, in that order.
        seeds: The seed of each task that keeps a residual; no two tasks have one.
        trained: The differences of the training with a seed.
        unmasked: What the last training of a masked task left, before it was masked.
        masked: The same of each masked update, by job, agent, task and digest.
    """

    updates: dict[TaskOfAgent, bytes] = field(default_factory=dict)
    begun: dict[TaskOfAgent, Own | None] = field(default_factory=dict)
    made: dict[TaskOfAgent, Own] = field(default_factory=dict)
    adopted: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    residual_begun: dict[TaskOfAgent, Own | None] = field(default_factory=dict)
    residual_made: dict[TaskOfAgent, Own] = field(default_factory=dict)
    residual_adopted: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    seeds: dict[TaskOfAgent, int] = field(default_factory=dict)
    trained: dict[int, Weights] = field(default_factory=dict)
    unmasked: dict[TaskOfAgent, UpdateBeforeMask] = field(default_factory=dict)
    masked: dict[tuple[str, str, int, str], UpdateBeforeMask] = field(default_factory=dict)

    def masked_of(self, job: str) -> dict[MaskedName, UpdateBeforeMask]:
        """Return what agents masked for a job by agent, task and digest."""
        return {key[1:]: update for key, update in self.masked.items() if key[0] == job}

    def updates_of(self, job: str) -> dict[tuple[str, int], bytes]:
        """Return the updates of a job by (agent, task)."""
        return {key[1:]: update for key, update in self.updates.items() if key[0] == job}

    def variates_of(self, job: str) -> OwnVariates:
        """Return what the agents of a job kept."""
        return OwnVariates(
            begun={key[1:]: own for key, own in self.begun.items() if key[0] == job},
            made={key[1:]: own for key, own in self.made.items() if key[0] == job},
            adopted={key[1]: tasks for key, tasks in self.adopted.items() if key[0] == job},
        )


@dataclass(frozen=True)
class RecordedStates(OwnStates):
    """Own states of an agent, recorded."""

    agent: str
    records: AgentRecords
    on_step: OnStep

    def load(self, task: TrainTask, layout: Layout) -> tuple[Own | None, str]:
        """Record what a training begins with."""
        own, reason = super().load(task, layout)
        begun = None if own is None else own.copy()
        self.records.begun[task.job, self.agent, task.task] = begun
        return own, reason

    def save_pending(self, task: TrainTask, layout: Layout, own: Own) -> None:
        """Record what a training would leave."""
        self.on_step("own:save_pending")
        super().save_pending(task, layout, own)
        self.records.made[task.job, self.agent, task.task] = own.copy()

    def settle(self, offer: Offer, *, counted: bool) -> bool:
        """Record an adoption."""
        self.on_step("own:settle")
        adopts = counted and self.has_pending(offer)
        settled = super().settle(offer, counted=counted)
        if adopts:
            self.records.adopted.setdefault((offer.job, self.agent), []).append(offer.task)
        return settled


@dataclass(frozen=True)
class RecordedResiduals(Residuals):
    """Residuals of an agent, recorded."""

    agent: str
    records: AgentRecords
    on_step: OnStep

    def load(self, task: TrainTask, layout: Layout) -> tuple[Own | None, str]:
        """Record what a training begins with."""
        residual, reason = super().load(task, layout)
        begun = None if residual is None else residual.copy()
        self.records.residual_begun[task.job, self.agent, task.task] = begun
        self.records.seeds[task.job, self.agent, task.task] = task.params.seed
        return residual, reason

    def save_pending(self, task: TrainTask, layout: Layout, own: Own) -> None:
        """Record what an update left out."""
        self.on_step("residual:save_pending")
        super().save_pending(task, layout, own)
        self.records.residual_made[task.job, self.agent, task.task] = own.copy()

    def settle(self, offer: Offer, *, counted: bool) -> bool:
        """Record an adoption."""
        self.on_step("residual:settle")
        adopts = counted and self.has_pending(offer)
        settled = super().settle(offer, counted=counted)
        if adopts:
            tasks = self.records.residual_adopted.setdefault((offer.job, self.agent), [])
            tasks.append(offer.task)
        return settled


class RecordedOutbox(Outbox):
    """Outbox of an agent, recorded. A task that is trained twice must give the same bytes."""

    def __init__(self, folder: Path, agent: str, records: AgentRecords, on_step: OnStep) -> None:
        super().__init__(folder)
        self.own_states = RecordedStates(folder / "own", agent, records, on_step)
        self.residuals = RecordedResiduals(folder / "residuals", agent, records, on_step)
        self._agent, self._records, self._on_step = agent, records, on_step

    def save(self, stored: StoredOffer, update: Blob, *, durable: bool = False) -> FileBlob:
        """Record an update."""
        self._on_step("outbox:save")
        offer = stored.offer
        task = offer.job, self._agent, offer.task
        if task in self._records.unmasked:
            self._records.masked[*task, offer.update.digest] = self._records.unmasked[task]
        made = self._records.updates.setdefault((offer.job, self._agent, offer.task), bytes(update))
        assert made == update
        source = super().save(stored, update, durable=durable and not self._masks(offer))
        self._on_step("outbox:saved")
        return source

    def _masks(self, offer: Offer) -> bool:
        """Return whether an update is masked: processes are killed here, and no machine is."""
        return (offer.job, self._agent, offer.task) in self._records.unmasked

    def remove(self, job: str, task: int) -> None:
        """Name the step."""
        self._on_step("outbox:remove")
        super().remove(job, task)


class SealedOutbox(Outbox):
    """Outbox of an agent that encrypts: each training of a task gives other bytes."""

    def __init__(self, folder: Path, sealed: dict[str, bytes], on_step: OnStep) -> None:
        super().__init__(folder)
        self._sealed, self._on_step = sealed, on_step

    def save(self, stored: StoredOffer, update: Blob, *, durable: bool = False) -> FileBlob:
        """Record an update by its digest."""
        self._on_step("outbox:save")
        self._sealed[stored.offer.update.digest] = bytes(update)
        del durable  # processes are killed here, and no machine is
        source = super().save(stored, update)
        self._on_step("outbox:saved")
        return source

    def remove(self, job: str, task: int) -> None:
        """Name the step."""
        self._on_step("outbox:remove")
        super().remove(job, task)
