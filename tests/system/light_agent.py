"""Process of an agent with a simulated trainer that records each update for the oracle.

    FEDBUS_NAME=a0 FEDBUS_HOME=DIR python -m tests.system.light_agent

The oracle sums the files under `DIR/made`. Each is written before its update is offered; an
agent that makes the update of a task again after a restart must make the same bytes.
"""

import threading
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from benchmarks.simulated_trainer import SimulatedTrainer
from fedbus.blobs.spool import Spools
from fedbus.errors import Stopped, TrainingError
from fedbus.model.blob_header import Blob
from fedbus.runtime import service
from fedbus.runtime.identity import Identity
from fedbus.runtime.settings import ServiceSettings
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.host.capabilities import measure
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.task_runner import Model, TaskRunner, TrainingResult

BATCH_SECONDS = 0.02
IN_MEMORY = 2**30


class LightSettings(ServiceSettings):
    """Settings of a light agent."""

    home: Annotated[Path, Field(description="the folder of its outbox and of its recorded updates")]
    role: Literal["train", "evaluate"] = "train"
    examples: Annotated[int, Field(ge=1)] = 10
    train_seconds: Annotated[float, Field(ge=0, description="duration of a training")] = 0.0
    threads: Annotated[int, Field(ge=1)] = 1


def read_updates(home: Path, job: str) -> dict[tuple[str, int], bytes]:
    """Read the recorded updates of a job, by (agent, task)."""
    found = {}
    for path in home.glob(f"made/{job}~*"):
        _, agent, task = path.name.split("~")
        found[agent, int(task)] = path.read_bytes()
    return found


def record_update(home: Path, agent: str, task: TrainTask, update: Blob) -> None:
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
        state: Blob | None = None,
    ) -> TrainingResult:
        """Wait, then make an update.

        Raises:
            Stopped: The task was cancelled.
        """
        for _ in range(int(self._seconds / BATCH_SECONDS)):
            threading.Event().wait(BATCH_SECONDS)
            if control.stopped:
                raise Stopped
        return super().train(task, model, base, control, state)


def build_with(runner: TaskRunner, outbox: Outbox, settings: LightSettings) -> service.Built:
    """Build an agent with this task runner."""
    facts = partial(measure, (settings.role,), settings.examples, {}, settings.home)
    return service.Built(AgentCore(runner, outbox, Spools(IN_MEMORY, settings.home), facts))


def build(settings: LightSettings, identity: Identity) -> service.Built:
    """Build a light agent."""
    outbox = Outbox(settings.home / identity.name)
    return build_with(SlowTrainer(settings, identity.name, outbox), outbox, settings)


if __name__ == "__main__":
    service.main("agent", LightSettings, build)
