"""Process of an agent with a simulated trainer that records each update for the oracle.

    FEDBUS_NAME=a0 FEDBUS_HOME=DIR python -m tests.system.light_agent

The oracle sums the files under `DIR/made`. Each is written before its update is offered; an
agent that makes the update of a task again after a restart must make the same bytes.
"""

import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from benchmarks.simulated_trainer import SimulatedTrainer
from fedbus.blobs.files import FileBlob
from fedbus.blobs.spool import Spools
from fedbus.errors import Stopped, TrainingError
from fedbus.model.blob_header import Blob
from fedbus.model.layout import Layout
from fedbus.runtime import service
from fedbus.runtime.identity import Identity
from fedbus.runtime.settings import ServiceSettings
from fedbus.simulation.control_variates import OwnVariates
from fedbus.simulation.masked_records import MaskedName, UpdateBeforeMask
from fedbus.wire.messages import Offer, TrainTask
from fedbus_edge_agent.app import masked_tasks
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.host.capabilities import measure
from fedbus_edge_agent.masking.masked_tasks import MaskedTasks
from fedbus_edge_agent.masking.unmasked_update import UnmaskedUpdate
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.outbox import Outbox, StoredOffer
from fedbus_edge_agent.training.own_state import OwnStates
from fedbus_edge_agent.training.task_runner import (
    NO_STRATEGY_BLOBS,
    Model,
    StrategyBlobs,
    TaskRunner,
    TrainingResult,
)
from tests.quadratic_trainer import QuadraticTrainer, rows_of

Own = NDArray[np.float32]

BATCH_SECONDS = 0.02
IN_MEMORY = 2**30


class LightSettings(ServiceSettings):
    """Settings of a light agent."""

    home: Annotated[Path, Field(description="the folder of its outbox and of its recorded updates")]
    role: Literal["train", "evaluate"] = "train"
    examples: Annotated[int, Field(ge=1)] = 10
    trains: Annotated[bool, Field(description="whether it trains, with the job's strategy")] = False
    masks: Annotated[bool, Field(description="whether it takes part in masked rounds")] = False
    train_seconds: Annotated[float, Field(ge=0, description="duration of a training")] = 0.0
    threads: Annotated[int, Field(ge=1)] = 1


def read_updates(home: Path, job: str) -> dict[tuple[str, int], bytes]:
    """Read the recorded updates of a job, by (agent, task)."""
    found = {}
    for path in home.glob(f"made/{job}~*"):
        _, agent, task = path.name.split("~")
        found[agent, int(task)] = path.read_bytes()
    return found


def record_update(home: Path, agent: str, task: TrainTask | Offer, update: Blob) -> None:
    """Record an update for the oracle.

    Raises:
        TrainingError: A different update was recorded for this task.
    """
    path = home / "made" / f"{task.job}~{agent}~{task.task}"
    if path.exists():
        if path.read_bytes() != update:
            raise TrainingError(f"task {task.task}: made twice, with different bytes")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = home / f"{agent}.made"
    new.write_bytes(update)
    new.rename(path)


class SlowTrainer(SimulatedTrainer):
    """A simulated trainer that takes time for each batch."""

    def __init__(self, settings: LightSettings, agent: str, outbox: Outbox) -> None:
        super().__init__(outbox, settings.examples, partial(record_update, settings.home, agent))
        self._seconds = settings.train_seconds

    def train(
        self,
        task: TrainTask,
        model: Model,
        base: Blob,
        control: TaskControl,
        strategy: StrategyBlobs = NO_STRATEGY_BLOBS,
    ) -> TrainingResult:
        """Wait, then make an update.

        Raises:
            Stopped: The task was cancelled.
        """
        for _ in range(int(self._seconds / BATCH_SECONDS)):
            threading.Event().wait(BATCH_SECONDS)
            if control.stopped:
                raise Stopped
        return super().train(task, model, base, control, strategy)


def build_with(
    runner: TaskRunner,
    outbox: Outbox,
    settings: LightSettings,
    masked: MaskedTasks | None = None,
) -> service.Built:
    """Build an agent with this task runner."""
    facts = partial(measure, (settings.role,), settings.examples, {}, settings.home)
    spools = Spools(IN_MEMORY, settings.home)
    return service.Built(
        AgentCore(runner, outbox, spools, facts, masked=masked), spare_threads=masked is not None
    )


def read_variates(home: Path, job: str) -> OwnVariates:
    """Read what the objectives of agents kept for a job."""
    found: dict[str, dict[tuple[str, int], Own | None]] = {"begun": {}, "made": {}}
    for path in home.glob(f"kept/{job}~*.npy"):
        _, agent, task, kind = path.name.removesuffix(".npy").split("~")
        own = np.load(path)
        found[kind][agent, int(task)] = own if own.size else None
    made = {key: own for key, own in found["made"].items() if own is not None}
    return OwnVariates(begun=found["begun"], made=made)


@dataclass(frozen=True)
class RecordedStates(OwnStates):
    """Own states of an agent, recorded in files for the oracle."""

    home: Path
    agent: str

    def load(self, task: TrainTask, layout: Layout) -> tuple[Own | None, str]:
        """Record what a training begins with."""
        own, reason = super().load(task, layout)
        self._record(task, "begun", np.zeros(0, np.float32) if own is None else own)
        return own, reason

    def save_pending(self, task: TrainTask, layout: Layout, own: Own) -> None:
        """Record what a training would leave."""
        self._record(task, "made", own)
        super().save_pending(task, layout, own)

    def _record(self, task: TrainTask, kind: str, own: Own) -> None:
        path = self.home / "kept" / f"{task.job}~{self.agent}~{task.task}~{kind}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{self.agent}.new")
        with new.open("wb") as file:
            np.save(file, own)
        new.rename(path)


class RecordedOutbox(Outbox):
    """Outbox of an agent that trains, which records its updates for the oracle."""

    def __init__(self, home: Path, agent: str) -> None:
        super().__init__(home / agent)
        self.own_states = RecordedStates(self.folder / "own", home, agent)
        self._home, self._agent = home, agent

    def save(self, stored: StoredOffer, update: Blob, *, durable: bool = False) -> FileBlob:
        """Record an update, then store it."""
        record_update(self._home, self._agent, stored.offer, update)
        record_mask(self._home, self._agent, stored.offer)
        return super().save(stored, update, durable=durable)


def record_mask(home: Path, agent: str, offer: Offer) -> None:
    """Record which update a masked one was made of, for the oracle; nothing for others."""
    left = home / "unmasked" / f"{offer.job}~{agent}~{offer.task}.npz"
    if left.exists():
        left.rename(left.with_name(f"{left.stem}~{offer.update.digest}.masked"))


def read_masked(home: Path, job: str) -> dict[MaskedName, UpdateBeforeMask]:
    """Read what agents masked for a job, by agent, task and digest."""
    found = {}
    for path in home.glob(f"unmasked/{job}~*.masked"):
        _, agent, task, digest = path.stem.split("~")
        with np.load(path) as made:
            found[agent, int(task), digest] = UpdateBeforeMask(
                numbers=made["numbers"],
                ranges=tuple(map(int, made["ranges"])),
                max_examples=int(made["max_examples"]),
            )
    return found


class MaskingTrainer(LocalTrainer):
    """Trainer that records what is to be masked: only tests write that to a disk."""

    def record(self, home: Path, agent: str) -> None:
        """Record from now on."""
        self._home, self._agent = home, agent

    def train_to_mask(self, task: TrainTask, *given: Any, **more: Any) -> UnmaskedUpdate:  # noqa: ANN401 - as `LocalTrainer`
        """Record what a training has left."""
        left = super().train_to_mask(task, *given, **more)
        path = self._home / "unmasked" / f"{task.job}~{self._agent}~{task.task}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{self._agent}.new")
        with new.open("wb") as file:
            np.savez(file, numbers=left.numbers, ranges=task.ranges, max_examples=task.max_examples)
        new.rename(path)
        return left


def build_training(settings: LightSettings, agent: str) -> service.Built:
    """Build an agent that trains on rows of its own."""
    number = int(agent.rpartition(".")[2][1:])
    outbox = RecordedOutbox(settings.home, agent)
    rows = rows_of(number, settings.examples)
    trainer = MaskingTrainer(outbox, rows, None, {"light": QuadraticTrainer})
    trainer.record(settings.home, agent)
    masked = masked_tasks(None, agent, outbox.folder, outbox) if settings.masks else None
    return build_with(trainer, outbox, settings, masked)


def build(settings: LightSettings, identity: Identity) -> service.Built:
    """Build a light agent."""
    if settings.trains:
        return build_training(settings, identity.name)
    outbox = Outbox(settings.home / identity.name)
    return build_with(SlowTrainer(settings, identity.name, outbox), outbox, settings)


if __name__ == "__main__":
    service.main("agent", LightSettings, build)
