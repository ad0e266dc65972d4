"""Private rounds of a whole system while its collector or its repository is killed.

Each version is computed again from its record, the updates that the agents made, and the key.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedbus.model.blob import decode
from fedbus.model.layout import Layout, Weights
from fedbus.privacy.noise import KeyedNoise
from fedbus.privacy.noise_key import read_noise_key
from fedbus.privacy.update_set import digest_of_update_set
from fedbus.simulation.services import COLLECTOR, REPOSITORY
from fedbus.simulation.stored_records import read_weights
from fedbus.wire.privacy import NoiseStep
from fedbus.wire.round_records import RoundRecord
from tests.ring.ring_cluster import RingCluster

WANTED = 4
NORM = 1000.0
KEYS = {"noise_multiplier": 0.5, "clipping_norm": NORM, "num_sampled_clients": WANTED}
FIXED = {"dp-fixed": KEYS}
STEPS = (
    "received:OpenRound",
    "run:NoiseKeyRead",
    "ran:NoiseKeyRead",
    "received:Offer",
    "ran:FoldRun",
    "send:RecordNoise",
    "received:NoiseRecorded",
    "run:AggregateRun",
    "ran:AggregateRun",
    "send:Commit",
    "received:Committed",
)


def kill_at(
    cluster: RingCluster, victim: str, step: str, count: int, *, back: bool = True
) -> list[str]:
    """Kill a service when a step has happened so often, before its actions; return which.

    It is started again a second later, unless it does not come `back`. A `victim` that ends with a
    dot is any service of the role.
    """
    ring, killed, left = cluster.ring, list[str](), [count]

    def end(host: str) -> None:
        ring.kill(host)
        killed.append(host)
        if back:
            ring.at(ring.now + 1.0, lambda: ring.start(host))

    def on_step(host: str, name: str) -> None:
        if name == step and f"{host}.".startswith(victim):
            left[0] -= 1
            if left[0] == 0:
                ring.kill_before_actions(host)
                ring.at(ring.now, lambda: end(host))

    ring.on_step = on_step
    return killed


def flat(weights: Weights, layout: Layout) -> NDArray[np.float64]:
    """Join the tensors of a model."""
    return np.concatenate([np.asarray(weights[t.name], np.float64).ravel() for t in layout.tensors])


def checked_records(cluster: RingCluster) -> Iterator[RoundRecord]:
    """Compute each version of a `dp-fixed` job again, and yield its record."""
    key = read_noise_key(cluster.noise_key)
    with cluster.store() as store:
        base: NDArray[np.float64] | None = None
        for each in store.history():
            layout, found = read_weights(store, each.version)
            weights = flat(found, layout)
            record = each.record
            if record is not None:
                assert base is not None
                digest = digest_of_update_set(record.contributors)
                step = NoiseStep(round=record.round, task=record.task, updates=digest)
                noise = KeyedNoise(key, record.job, (step,), record.strategy)
                total = 0.5 * NORM * noise.normals(0, len(base))
                for one in record.contributors:
                    total += flat(decode(cluster.updates[one.agent, record.task], layout), layout)
                np.testing.assert_allclose(weights, base + total / WANTED, rtol=1e-4, atol=1e-3)
                yield record
            base = weights


def run(cluster: RingCluster, **more: Any) -> list[RoundRecord]:  # noqa: ANN401 - of a job file
    """Run a private job of three rounds to its end, and return its records."""
    mechanisms = {"privacy-mechanisms": more.pop("mechanisms", FIXED)}
    cluster.submit(rounds=3, **mechanisms, **more)
    state = cluster.run()
    assert (state.phase, state.round) == ("finished", 3), state.reason
    assert cluster.ring.broker.violations == []
    assert cluster.ring.misread == []
    return list(checked_records(cluster))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("step", STEPS)
def test_a_collector_that_is_killed_at_any_step_adds_the_noise_of_the_record(
    step: str, count: int, tmp_path: Path
) -> None:
    """And each noise that may have left it is an entry of the ledger, which ε counts."""
    with closing(RingCluster(tmp_path)) as cluster:
        killed = kill_at(cluster, COLLECTOR, step, count)
        records = run(cluster)
        assert len(killed) == 1
        spent = [record.privacy for record in records]
        entries = [one.entries for one in spent if one is not None]
        assert len(entries) == len(records) == 3
        assert entries == sorted(set(entries))
        reasons = [note["reason"] for note in cluster.ring.noted("round_failed")]
        assert entries[-1] == 3 + sum("the ledger takes no entry" in why for why in reasons)


def test_another_collector_goes_on_with_the_same_key(tmp_path: Path) -> None:
    """The task whose noise was recorded is paid for; the round is planned again."""
    with closing(RingCluster(tmp_path, collectors=2)) as cluster:
        killed = kill_at(cluster, "collector.", "received:NoiseRecorded", 1, back=False)
        records = run(cluster)
        assert len(killed) == 1
        assert [r.privacy.entries for r in records if r.privacy is not None] == [2, 3, 4]


@pytest.mark.parametrize("step", ["received:RecordNoise", "send:NoiseRecorded", "received:Commit"])
def test_a_repository_that_is_killed_has_one_entry_for_each_task(step: str, tmp_path: Path) -> None:
    """The collector asks again, and the equal entry has the same answer."""
    with closing(RingCluster(tmp_path)) as cluster:
        killed = kill_at(cluster, REPOSITORY, step, 2)
        records = run(cluster)
        assert len(killed) == 1
        assert [r.privacy.entries for r in records if r.privacy is not None] == [1, 2, 3]


def test_a_key_that_is_lost_stops_private_rounds_until_it_is_back(tmp_path: Path) -> None:
    """The round fails, the job waits with the reason, and goes on with the same key."""
    with closing(RingCluster(tmp_path)) as cluster:
        away = cluster.noise_key.with_name("away")

        def move(source: Path, target: Path) -> None:
            source.rename(target)

        cluster.ring.at(0.0, lambda: move(cluster.noise_key, away))
        cluster.ring.at(60.0, lambda: move(away, cluster.noise_key))
        records = run(cluster)
        assert [r.privacy.entries for r in records if r.privacy is not None] == [1, 2, 3]
        failed = [note["reason"] for note in cluster.ring.noted("round_failed")]
        assert any("there is no such file" in reason for reason in failed)
        reasons = {state.reason for state in cluster.states["job-1"]}
        assert any("noise key: " in reason and "fedbus agents" in reason for reason in reasons)


def test_poisson_rounds_commit_noise_with_whatever_number_of_agents(tmp_path: Path) -> None:
    """Some of them with none."""
    with closing(RingCluster(tmp_path, agents=5)) as cluster:
        records = run(
            cluster,
            mechanisms={"dp-fixed": KEYS, "accounting": {"sampling": "poisson"}},
            strategy={"id": "fedavg", "population": 40},
            wish={"agents": WANTED, "quorum": 0},
        )
        assert {len(record.contributors) for record in records} & {0, 1}
