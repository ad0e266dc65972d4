"""Harness of an agent core: a task runner without training, and messages of other services."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fedbus.blobs.spool import Spools
from fedbus.core.events import Connected
from fedbus.data import from_arrays
from fedbus.datasource.source import InMemorySource
from fedbus.encryption.key_files import SecretKey
from fedbus.errors import Stopped
from fedbus.jobs.eligibility import RowFormat
from fedbus.model.blob import encode
from fedbus.model.blob_header import Blob
from fedbus.model.layout import Layout
from fedbus.training.params import DataOverrides, TrainingParams
from fedbus.wire import codec
from fedbus.wire.blobs import ModelRef, blob_ref_of
from fedbus.wire.documents import AgentFacts, ModelSpec, TensorSpec
from fedbus.wire.messages import EvaluateTask, Offer, Receipt, TrainTask
from fedbus.wire.privacy import PrivacyTerms
from fedbus_edge_agent import keys
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.host.data_watch import WatchedData
from fedbus_edge_agent.masking.masked_tasks import MaskedTasks
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.local_strategy import StrategyPlugins
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.required_protection import RequiredProtection
from fedbus_edge_agent.training.task_runner import (
    NO_STRATEGY_BLOBS,
    EvaluationResult,
    Model,
    StrategyBlobs,
    TrainingResult,
    store_update,
)
from fedbus_edge_agent.training.trainers import Trainers
from tests.core_harness import CoreHarness

CONTROLLER, COLLECTOR, REPOSITORY = "controller.1", "collector.1", "repository.1"
OTHER_COLLECTOR = "collector.2"
JOB = "job-1"
STORED = Receipt(job=JOB, task=1, verdict="stored")
FILE = b"an architecture's file"


ARRAYS = {"w": np.zeros(4, np.float32)}
LAYOUT = Layout.of(ARRAYS)


def spec_of(input_: dict[str, Any] | None = None, **architectures: Any) -> bytes:  # noqa: ANN401 - whatever a spec holds
    """Return a spec as JSON; without arguments, one with a file."""
    named = architectures or {"tiny": {"blob": codec.to_plain(blob_ref_of(FILE))}}
    tensors = tuple(TensorSpec(name=t.name, shape=t.shape, dtype=t.dtype) for t in LAYOUT.tensors)
    spec = ModelSpec(model="tiny", layout=tensors, architectures=named, input=input_ or {})
    return codec.to_json(spec)


def weights_of(number: int) -> bytes:
    """Return the weights of a version."""
    return bytes(encode({"w": np.full(4, number, np.float32)}, LAYOUT))


SPEC = spec_of()


def version(number: int = 1, spec: bytes = SPEC) -> ModelRef:
    """Return the reference of a version."""
    return ModelRef(
        model="tiny",
        version=number,
        weights=blob_ref_of(weights_of(number)),
        spec=blob_ref_of(spec),
        source=REPOSITORY,
    )


def train(task: int = 1, **changes: Any) -> TrainTask:  # noqa: ANN401 - any field
    """Return a training task."""
    first = TrainTask(
        epoch=1,
        job=JOB,
        task=task,
        base=version(),
        collector=COLLECTOR,
        params=TrainingParams(seed=5),
        trainer=None,
        members=3,
        inline_up_to=1024,
    )
    return replace(first, **changes)


def evaluate(number: int = 2, **changes: Any) -> EvaluateTask:  # noqa: ANN401 - any field
    """Return an evaluation task."""
    first = EvaluateTask(
        epoch=1, job=JOB, version=version(number), params=TrainingParams(), trainer=None, members=2
    )
    return replace(first, **changes)


def update_of(task: int) -> bytes:
    """Return the update of a task."""
    return bytes(encode({"w": np.full(4, task, np.float32)}, LAYOUT, "delta"))


@dataclass
class FakeTaskRunner:
    """Computes updates from task numbers, unless it has a `failure`."""

    outbox: Outbox
    done: list[tuple[str, int, bytes]] = field(default_factory=list)
    failure: Callable[[], Exception] | None = None
    states: list[bytes | None] = field(default_factory=list)
    frozen: list[bytes | None] = field(default_factory=list)

    def train(
        self,
        task: TrainTask,
        model: Model,
        base: Blob,
        control: TaskControl,
        strategy: StrategyBlobs = NO_STRATEGY_BLOBS,
    ) -> TrainingResult:
        state, frozen = strategy.state, strategy.frozen
        self.frozen.append(None if frozen is None else bytes(frozen))
        self.states.append(None if state is None else bytes(state))
        self._begin("train", task.task, base, control)
        assert model.spec.model == "tiny"
        return store_update(self.outbox, task, update_of(task.task), 10, {"loss": 0.5})

    def evaluate(
        self, task: EvaluateTask, model: Model, weights: Blob, control: TaskControl
    ) -> EvaluationResult:
        self._begin("evaluate", task.version.version, weights, control)
        assert model.layout == LAYOUT
        return EvaluationResult(7, {"accuracy": 0.5})

    def _begin(self, what: str, number: int, weights: Blob, control: TaskControl) -> None:
        if control.stopped:
            raise Stopped("asked to stop")
        if self.failure is not None:
            raise self.failure()
        self.done.append((what, number, bytes(weights)))


@dataclass
class CheckingTaskRunner(FakeTaskRunner):
    """Also checks plug-ins, and has data: eight rows of four numbers."""

    trainers: Trainers = field(default_factory=Trainers)
    source: InMemorySource = field(
        default_factory=lambda: InMemorySource(from_arrays(np.ones((8, 4)), np.arange(8) % 2))
    )

    def check(self, trainer: str | None, overrides: DataOverrides | None) -> None:
        self.trainers.check(trainer)
        self.source.check(overrides)

    def check_strategy(self, params: TrainingParams, privacy: PrivacyTerms | None = None) -> int:
        return StrategyPlugins().check(params, privacy)

    def rows(self, overrides: DataOverrides) -> RowFormat:
        pipeline = self.source.expected_pipeline(overrides)
        assert pipeline is not None
        return RowFormat(pipeline.output.plain(), pipeline.max_row_bytes)

    def choose(self, spec: ModelSpec, wanted: str | None) -> str:
        return self.trainers.choose(spec, wanted)


class AgentHarness(CoreHarness):
    """An agent core with a real outbox; records what the core does."""

    def __init__(
        self,
        folder: Path,
        spools: Spools | None = None,
        memory_mb: int = 512,
        trainers: Trainers | None = None,
        data: WatchedData | None = None,
        *,
        outbox: Outbox | None = None,
        encryption_key: SecretKey | None = None,
        masked: MaskedTasks | None = None,
        required: RequiredProtection = "none",
        runner: FakeTaskRunner | None = None,
    ) -> None:
        self.folder = folder
        self.outbox = outbox or Outbox(folder)
        self.runner = runner or (
            FakeTaskRunner(self.outbox)
            if trainers is None
            else CheckingTaskRunner(self.outbox, trainers=trainers)
        )
        self.memory_mb = memory_mb
        self.form: dict[str, Any] = {}
        self.measured = 0
        self.spools = spools or Spools(1 << 20)
        parts = self.runner, self.outbox, self.spools, self._facts
        core = AgentCore(
            *parts, data=data, encryption_key=encryption_key, masked=masked, required=required
        )
        super().__init__(core)
        self.handle(Connected())

    def _facts(self, task: str, models: dict[str, int]) -> AgentFacts:
        self.measured += 1
        return AgentFacts(
            roles=("train",),
            examples=10,
            cores=1,
            memory_mb=self.memory_mb,
            storage_mb=1024,
            gpu=False,
            frameworks={},
            models=models,
            format=self.form,
            task=task,
        )

    def running_task(self) -> str:
        """Return the running task, as the agent would publish it."""
        facts = self.core.facts()
        assert facts is not None
        return facts.task

    def trouble(self) -> str:
        """Return what the agent would publish as the fault that keeps it from work."""
        facts = self.core.facts()
        assert facts is not None
        return facts.trouble

    def deliver_inputs(self, *without: str) -> None:
        """Deliver all blobs that are being fetched, one after another."""
        blobs = {blob_ref_of(data).digest: data for data in (SPEC, FILE)}
        for number in range(1, 9):
            blobs[version(number).weights.digest] = weights_of(number)
        while coming := [key for key in self.input_fetches() if key.digest not in without]:
            self.complete_fetch(coming[0], blobs[coming[0].digest])

    def input_fetches(self) -> list[keys.TaskInputFetch]:
        """Return the keys of all fetches."""
        fetches = [key for key in self.fetches if isinstance(key, keys.TaskInputFetch)]
        assert len(fetches) == len(self.fetches)
        return fetches

    def trained(self, order: TrainTask | None = None) -> Offer:
        """Send a task, run it, and return the offer."""
        order = order or train()
        self.receive(CONTROLLER, order)
        self.deliver_inputs()
        self.run_calls()
        return self.asked(keys.TaskReply(order.job, order.task), Offer)

    def offered(self, task: int = 1) -> Offer:
        """Return the offer for a task."""
        return self.asked(keys.TaskReply(JOB, task), Offer)

    def files(self) -> list[str]:
        """Return the names of the files in the outbox."""
        return sorted(path.name for path in self.folder.iterdir())
