"""Test harness of the collector: it plays the controller, the agents and the repository."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbus.blobs.spool import Spools
from fedbus.core.actions import Send
from fedbus.model.blob import encode
from fedbus.model.layout import Layout
from fedbus.training.params import PluginChoice
from fedbus.wire import codec
from fedbus.wire.blobs import ModelRef, blob_ref_of
from fedbus.wire.documents import ModelSpec, TensorSpec
from fedbus.wire.messages import Commit, Committed, Offer, OpenRound, Receipt, RoundEnded
from fedbus.wire.round_records import Plan
from fedbus.wire.strategies import Strategy
from fedbus_collector import keys
from fedbus_collector.collector_parts import PartsFactory
from fedbus_collector.core import CollectorCore
from fedbus_collector.encryption_key import CollectorKey
from fedbus_collector.model_cache import ModelCache
from fedbus_collector.noise_key_watch import NoiseKeyWatch
from fedbus_collector.rounds.round_components import RoundResources
from tests.core_harness import CoreHarness

CONTROLLER, REPOSITORY = "controller.1", "repository.1"
A, B, C = "agent.a", "agent.b", "agent.c"
JOB = "job-1"

Floats = NDArray[Any]


def arrays(value: float = 0.0, *, dtype: str = "float32") -> dict[str, NDArray[Any]]:
    """Make the arrays of a small model."""
    return {"w": np.full((2, 3), value, dtype), "b": np.full(3, 2 * value, dtype)}


def layout_of(dtype: str = "float32") -> Layout:
    """Describe them."""
    return Layout.of(arrays(dtype=dtype))


LAYOUT = layout_of()


def spec_of(layout: Layout = LAYOUT) -> bytes:
    """Write the model's spec."""
    tensors = tuple(TensorSpec(name=t.name, shape=t.shape, dtype=t.dtype) for t in layout.tensors)
    return codec.to_json(ModelSpec(model="tiny", layout=tensors, architectures={}))


def blob(value: float = 0.0, encoding: str = "plain") -> bytes:
    """Write the model, every number made of one value."""
    return bytes(encode(arrays(value), LAYOUT, encoding))


SPEC = spec_of()
BASE = blob(1.0)


def version(number: int = 1, weights: bytes = BASE, spec: bytes = SPEC) -> ModelRef:
    """Name a version."""
    return ModelRef(
        model="tiny",
        version=number,
        weights=blob_ref_of(weights),
        spec=blob_ref_of(spec),
        source=REPOSITORY,
    )


def plan(**changes: Any) -> Plan:  # noqa: ANN401 - any field
    """Plan a round of three agents, of whom two must answer."""
    first = Plan(
        job=JOB,
        round=1,
        task=1,
        base=version(),
        collector="collector.1",
        cohort=(A, B, C),
        quorum=2,
        deadline_seconds=10.0,
    )
    return replace(first, **changes)


def mean(weighted: bool = True) -> Strategy:
    """Return the strategy of a weighted or unweighted mean."""
    choice = PluginChoice(id="mean", parameters={"weighted": weighted})
    return Strategy(id="fedavg", aggregator=choice)


def order(
    epoch: int = 1,
    *,
    weighted: bool = True,
    strategy: Strategy | None = None,
    **changes: Any,  # noqa: ANN401
) -> OpenRound:
    """Order a round."""
    return OpenRound(epoch=epoch, plan=plan(**changes), strategy=strategy or mean(weighted))


def offer(update: bytes, examples: int = 10, **changes: Any) -> Offer:  # noqa: ANN401 - any field
    """Offer an update for the first round."""
    first = Offer(
        job=JOB,
        round=1,
        task=1,
        base=1,
        update=blob_ref_of(update),
        examples=examples,
        metrics={"loss": 0.5},
    )
    return replace(first, **changes)


class Harness(CoreHarness):
    """A collector, and the nodes it exchanges messages with."""

    def __init__(
        self,
        spools: Spools | None = None,
        incarnation: int = 5,
        parts: PartsFactory | None = None,
        noise_key: NoiseKeyWatch | None = None,
        encryption_key: CollectorKey | None = None,
    ) -> None:
        self.spools = spools or Spools(1 << 20)
        self.cache = ModelCache()
        resources = RoundResources(
            self.spools,
            self.cache,
            parts or PartsFactory(),
            noise_key or NoiseKeyWatch(),
            encryption_key or CollectorKey(),
        )
        super().__init__(CollectorCore(incarnation, REPOSITORY, resources))

    def open(self, what: OpenRound | None = None) -> None:
        """Order a round, and let the spec and the base arrive, if they are fetched."""
        what = what or order()
        self.receive(CONTROLLER, what)
        key = what.plan.job, what.plan.task
        if keys.LayoutFetch(*key) in self.fetches:
            self.complete_fetch(keys.LayoutFetch(*key), SPEC)
            self.run_calls()
        if keys.BaseFetch(*key) in self.fetches:
            self.complete_fetch(keys.BaseFetch(*key), BASE)
            self.run_calls()

    def give(self, agent: str, value: float = 1.0, examples: int = 10) -> None:
        """Offer an agent's update, which is folded."""
        update = blob(value, "delta")
        self.receive(agent, offer(update, examples, inline=update))
        self.run_calls()

    @property
    def commit(self) -> Commit:
        """The commit that the repository is asked for."""
        return self.asked(keys.CommitRequest(JOB, 1), Commit)

    def confirm(self, commit: Commit | None = None) -> None:
        """Answer the commit as the repository does."""
        commit = commit or self.commit
        weights = self.out(commit)
        made = version(commit.record.parent + 1, weights)
        self.receive(REPOSITORY, Committed(version=made, record=commit.record))

    def out(self, commit: Commit) -> bytes:
        """Fetch what a commit names."""
        source = self.served[commit.weights.digest]
        data = bytes(source.read(0, source.size))
        assert blob_ref_of(data) == commit.weights
        return data

    def receipts(self) -> dict[str, Receipt]:
        """Read what agents were told by the last event."""
        return {
            action.to: action.message
            for action in self.last
            if isinstance(action, Send) and isinstance(action.message, Receipt)
        }

    @property
    def ended(self) -> RoundEnded:
        """What the controller is told."""
        return self.asked(keys.RoundEndReport(JOB, 1), RoundEnded)
