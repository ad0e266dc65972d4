"""MistNet over all services, with real training, and with every process killed in every stage."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.mistnet_digits import CASES, Digits, run
from fedbus.datasource.source import InMemorySource
from fedbus.frameworks.torch import TorchTrainer
from fedbus.model.blob import encode
from fedbus.model.layout import Layout
from fedbus.simulation import services
from fedbus.simulation.host import ServiceFactory
from fedbus.simulation.network_faults import NO_FAULTS, NetworkFaults
from fedbus.simulation.oracle import check_records
from fedbus.simulation.services import COLLECTOR, CONTROLLER, REPOSITORY, Role
from fedbus.simulation.stored_records import read_weights
from fedbus.wire import codec
from fedbus.wire.documents import JobState, ModelSpec, TensorSpec
from fedbus.wire.messages import PushModel
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_repository.stores.ledger_records import ModelPrivacy
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.edge_agent.mistnet.feature_harness import MLP, WEIGHTS, rows
from tests.ring.ring_cluster import MODEL, RingCluster, fault_rng, kept
from tests.ring.storm import kill_at_step

BIG, SPARE = "agent.a3", "agent.a4"
MECHANISMS = {"mistnet": {"cut_layer": 1, "epsilon": 6, "features": 8, "trainers": [BIG, SPARE]}}


class MistNetCluster(RingCluster):
    """Three agents with data, and two that may train on their features."""

    def __init__(self, folder: Path, seed: int = 0, faults: NetworkFaults = NO_FAULTS) -> None:
        super().__init__(folder, seed=seed, agents=5, faults=faults)

    def start_job(self, rounds: int = 3) -> None:
        """Submit a MistNet job."""
        wish = {"agents": 3, "quorum": 2}
        more: dict[str, Any] = {"privacy-mechanisms": MECHANISMS}
        self.submit(rounds=rounds, wish=wish, **more)

    def restart(self, name: str, seconds: float = 0.0) -> None:
        """Kill a process, and start it again."""
        self.ring.kill(name)
        self.ring.at(self.ring.now + seconds, lambda: self.ring.start(name))

    def has_committed(self) -> bool:
        """Return whether the job's first round is committed."""
        states = self.states.get("job-1", [])
        return bool(states) and states[-1].round >= 1

    def made(self) -> Counter[str]:
        """Return how often each agent has made features that it served."""
        return Counter(host for _, host, event, _ in self.ring.notes if event == "features_made")

    def check(self, state: JobState, rounds: int) -> None:
        """Check that all rounds were done, and that the layers before the cut are unchanged."""
        assert (state.phase, state.round, state.version) == ("finished", rounds, rounds + 1)
        assert self.ring.broker.violations == []
        assert self.ring.misread == []
        assert state.privacy is not None
        assert (state.privacy.epsilon, state.privacy.unit) == (24.0, "example")
        with self.store() as store:
            assert check_records(store).rounds == rounds
            first, *_, last = [entry.version for entry in store.history()]
            before, after = read_weights(store, first)[1], read_weights(store, last)[1]
        for name in ("layers.0.weight", "layers.0.bias"):
            np.testing.assert_array_equal(before[name], after[name])
        assert not np.array_equal(before["layers.1.weight"], after["layers.1.weight"])

    def _agent(self, number: int, role: Role) -> ServiceFactory:
        source = InMemorySource(rows(number))
        form = source.now.form.plain()
        runner = lambda _, outbox: LocalTrainer(outbox, source, None, {"torch": TorchTrainer})  # noqa: E731
        return services.agent(self.folder, runner, role, 30, form)

    def _seed_model(self, numbers: int) -> None:  # noqa: ARG002 - the model has its own size
        layout = Layout.of(WEIGHTS)
        tensors = [TensorSpec(name=t.name, shape=t.shape, dtype=t.dtype) for t in layout.tensors]
        spec = ModelSpec(model=MODEL, layout=tuple(tensors), architectures={"torch": MLP})
        store = SqliteStore(self.folder / "repository", durable=False)
        weights = kept(store, bytes(encode(WEIGHTS, layout)))
        store.push(
            PushModel(model=MODEL, spec=kept(store, codec.to_json(spec)), weights=weights), ()
        )
        store.close()


def test_digits_are_learned_from_features_alone() -> None:
    """With ε 8 for a feature and a random first layer that returns bits: over 90 % are right."""
    digits = Digits(0, CASES[0])
    result = run(digits, 8.0, rounds=3)
    assert result.state.phase == "finished"
    assert digits.before < 0.2
    assert result.state.metrics["accuracy"] > 0.9
    np.testing.assert_array_equal(
        result.weights["layers.0.weight"], digits.weights["layers.0.weight"]
    )
    assert result.state.privacy is not None
    assert result.state.privacy.epsilon == 256 * 8.0 / 2


def test_a_job_without_faults(tmp_path: Path) -> None:
    """Each agent makes features once, and one agent trains in all rounds."""
    cluster = MistNetCluster(tmp_path)
    cluster.start_job()
    state = cluster.run()
    cluster.check(state, 3)
    assert cluster.made() == {f"agent.a{number}": 1 for number in range(3)}
    with cluster.store() as store:
        spent = store.model_privacy(MODEL)
    assert isinstance(spent, ModelPrivacy)
    (job,) = spent.jobs
    assert (job.rounds, job.failed) == (3, 0)
    assert job.spent is not None
    assert (job.spent.entries, job.spent.participations, job.spent.delta) == (1, 1, 0.0)
    cluster.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_bad_network_changes_nothing(tmp_path: Path, seed: int) -> None:
    """Lost, doubled, reordered and damaged messages: each agent makes features once."""
    faults = NetworkFaults(loss=0.1, duplication=0.1, reordering=0.1, damage=0.02)
    cluster = MistNetCluster(tmp_path, seed, faults)
    cluster.start_job()
    state = cluster.run()
    assert set(cluster.made().values()) == {1}
    cluster.ring.misread.clear()  # damaged messages
    cluster.check(state, 3)
    cluster.close()


VICTIMS = ("agent.a0", CONTROLLER, COLLECTOR, REPOSITORY, BIG)


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("seed", range(6))
def test_a_process_that_is_killed_at_any_step_costs_no_features(
    tmp_path: Path, victim: str, seed: int
) -> None:
    """The job ends as without the fault, and no agent serves two sets of features."""
    cluster = MistNetCluster(tmp_path, seed)
    rng = fault_rng(seed)
    cluster.start_job()
    cluster.ring.run(lambda: any(cluster.ring.noted("job_started")), 60.0)
    starts = cluster.ring.hosts[victim].starts
    kill_at_step(cluster, victim, 1 + 2 * seed + rng.randrange(2), rng.uniform(0, 8))
    state = cluster.run()
    host = cluster.ring.hosts[victim]
    assert host.starts > starts or host.node is None  # it was killed, and may not be back yet
    assert max(cluster.made().values()) == 1
    cluster.check(state, 3)
    cluster.close()


@pytest.mark.parametrize("event", ["features_asked", "features_gathered", "round_planned"])
def test_an_agent_that_trains_is_replaced_when_it_does_not_return(
    tmp_path: Path, event: str
) -> None:
    """The other one fetches the features from their agents, and the job goes on."""
    cluster = MistNetCluster(tmp_path)
    cluster.start_job()
    cluster.ring.run(lambda: any(cluster.ring.noted(event)), 120.0)
    cluster.ring.kill(BIG)
    cluster.check(cluster.run(), 3)
    assert set(cluster.made().values()) == {1}
    cluster.close()


def test_an_agent_that_is_gone_after_it_sent_features_is_not_missed(tmp_path: Path) -> None:
    """The agent that trains has its features on the disk, also after its own restart."""
    cluster = MistNetCluster(tmp_path)
    cluster.start_job()
    cluster.ring.run(cluster.has_committed, 120.0)
    for number in range(3):
        cluster.ring.kill(f"agent.a{number}")
    cluster.restart(BIG)
    cluster.check(cluster.run(), 3)
    cluster.close()
