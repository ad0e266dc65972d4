"""Agents with real trainers that make features, or train on those of others."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fedbus.blobs.spool import Spools
from fedbus.core.events import Connected
from fedbus.data import Dataset, from_arrays
from fedbus.frameworks.torch import TorchTrainer
from fedbus.model.blob import encode
from fedbus.model.layout import Layout
from fedbus.plugins import TrainerFactory
from fedbus.training.params import TrainingParams
from fedbus.wire import codec
from fedbus.wire.blobs import ModelRef, blob_ref_of
from fedbus.wire.documents import AgentFacts, ModelSpec, TensorSpec
from fedbus.wire.features import FeatureTerms
from fedbus.wire.messages import FeatureTask, TrainTask
from fedbus_edge_agent import keys
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.outbox import Outbox
from tests.core_harness import CoreHarness

CONTROLLER, COLLECTOR, JOB = "controller.1", "collector.1", "job-1"
MLP = {"name": "mlp", "config": {"layers": [4, 8, 5, 3], "seed": 2, "bits_after": 1}}
WEIGHTS = TorchTrainer(MLP).initial()
LAYOUT = Layout.of(WEIGHTS)
BASE = bytes(encode(WEIGHTS, LAYOUT))
SPEC = codec.to_json(
    ModelSpec(
        model="tiny",
        layout=tuple(TensorSpec(name=t.name, shape=t.shape, dtype=t.dtype) for t in LAYOUT.tensors),
        architectures={"torch": MLP},
    )
)
REF = ModelRef(
    model="tiny",
    version=1,
    weights=blob_ref_of(BASE),
    spec=blob_ref_of(SPEC),
    source="repository.1",
)
TERMS = FeatureTerms(cut_layer=1, epsilon=8.0, features=8)


def rows(seed: int, count: int = 30, width: int = 4) -> Dataset:
    """Return random rows of three classes."""
    rng = np.random.default_rng(seed)
    return from_arrays(rng.normal(size=(count, width)).astype(np.float32), np.arange(count) % 3)


def ask(task: int = 1, **changes: Any) -> FeatureTask:  # noqa: ANN401 - any field
    """Return a request for features."""
    first = FeatureTask(
        epoch=1,
        job=JOB,
        task=task,
        base=REF,
        terms=TERMS,
        params=TrainingParams(batch_size=8),
        trainer=None,
        members=2,
    )
    return replace(first, **changes)


def train(task: int = 2, **changes: Any) -> TrainTask:  # noqa: ANN401 - any field
    """Return a training task."""
    first = TrainTask(
        epoch=1,
        job=JOB,
        task=task,
        base=REF,
        collector=COLLECTOR,
        params=TrainingParams(batch_size=8, epochs=2, learning_rate=0.1),
        trainer=None,
        members=1,
        inline_up_to=1 << 20,
        feature_terms=TERMS,
    )
    return replace(first, **changes)


class FeatureHarness(CoreHarness):
    """An agent with real data and a real trainer; a new one in the same folder is a restart."""

    def __init__(
        self,
        folder: Path,
        data: Dataset | None = None,
        random_bytes: Callable[[int], bytes] | None = None,
        factories: Mapping[str, TrainerFactory] | None = None,
    ) -> None:
        self.outbox = Outbox(folder)
        self.trainer = LocalTrainer(self.outbox, data or rows(1), None, factories)
        if random_bytes is not None:
            self.trainer.features.random_bytes = random_bytes
        core = AgentCore(self.trainer, self.outbox, Spools(1 << 22), self._facts)
        super().__init__(core)
        self.handle(Connected())

    @staticmethod
    def _facts(task: str, models: dict[str, int]) -> AgentFacts:
        return AgentFacts(
            roles=("train",),
            examples=30,
            cores=1,
            memory_mb=4096,
            storage_mb=4096,
            gpu=False,
            frameworks={},
            models=models,
            format={},
            task=task,
        )

    def deliver(self, **blobs: bytes) -> None:
        """Deliver what is being fetched of spec and base, and of the given blobs by digest."""
        known = {blob_ref_of(data).digest: data for data in (SPEC, BASE)} | blobs
        while found := [key for key in self._fetching() if key.digest in known]:
            self.complete_fetch(found[0], known[found[0].digest])

    def _fetching(self) -> list[keys.TaskInputFetch]:
        return [key for key in self.fetches if isinstance(key, keys.TaskInputFetch)]

    def served_bytes(self, digest: str) -> bytes:
        """Return the bytes that this agent serves under a digest."""
        source = self.served[digest]
        return bytes(source.read(0, source.size))
