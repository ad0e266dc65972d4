"""Every strategy on the ring, and a collector that is killed while a strategy keeps a state."""

from functools import partial
from pathlib import Path

import pytest

from fedbus import plugins
from fedbus.simulation.services import COLLECTOR
from tests.ring.ring_cluster import MODEL, RingCluster

POPULATION = {"population": 9}
MORE = {"scaffold": POPULATION, "feddyn": POPULATION}


@pytest.mark.parametrize("name", plugins.installed_names("strategies"))
def test_every_strategy_runs_its_rounds(name: str, tmp_path: Path) -> None:
    """From the job file to versions that the repository has accepted, with whatever they keep."""
    cluster = RingCluster(tmp_path)
    cluster.submit(rounds=2, strategy={"id": name, **MORE.get(name, {})}, wish={"quorum": 4})
    state = cluster.run()
    assert (state.phase, state.round, state.version) == ("finished", 2, 3), state.reason
    assert cluster.ring.broker.violations == []
    assert cluster.ring.misread == []
    with cluster.store() as store:
        records = [each.record for each in store.history() if each.record is not None]
        assert [record.strategy.id for record in records] == [name, name]
        for number, record in enumerate(records, start=1):
            if record.strategy.server_optimizer is None:
                assert record.state is None
                continue
            assert record.state is not None
            assert record.state.rounds == number
            assert (record.state.arrays is not None) == bool(record.strategy.state)
    cluster.close()


def weights_after(folder: Path, *, kill: bool) -> tuple[str, list[int]]:
    """Run three rounds of FedAdam; return the last version's digest, and the rounds of its state.

    With `kill`, the collector is killed and started again after each round.
    """
    cluster = RingCluster(folder)
    cluster.submit(rounds=3, strategy={"id": "fedadam"}, wish={"quorum": 4})
    for number in (1, 2):
        cluster.ring.run(partial(_has_ended, cluster, number), 300.0)
        if kill:
            cluster.ring.kill(COLLECTOR)
            cluster.ring.start(COLLECTOR)
    assert cluster.run().phase == "finished"
    with cluster.store() as store:
        versions = [each for each in store.history() if each.version.model == MODEL]
    cluster.close()
    states = [each.record.state for each in versions if each.record is not None]
    return versions[-1].version.weights.digest, [each.rounds for each in states if each is not None]


def _has_ended(cluster: RingCluster, number: int) -> bool:
    states = cluster.states.get("job-1", [])
    return bool(states) and states[-1].round == number


def test_a_killed_collector_continues_the_state_of_its_strategy(tmp_path: Path) -> None:
    """To the same bytes: the state is in the repository, with the version that it belongs to."""
    undisturbed = weights_after(tmp_path / "undisturbed", kill=False)
    assert undisturbed[1] == [1, 2, 3]
    assert weights_after(tmp_path / "killed", kill=True) == undisturbed
