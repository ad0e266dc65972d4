"""Jobs with compressed updates in storms: the oracle reads every update again.

A failure names its chain and seed: `FEDBUS_RING_SEED=17 pytest tests/ring/test_compressed_rounds.py
-k top-k` runs it alone. FEDBUS_RING_SEEDS=200 runs that many seeds of each chain.
"""

import os
from pathlib import Path

import pytest

from fedbus.privacy.noise_key import read_noise_key
from fedbus.simulation.private_records import check_private_records
from tests.ring.compressed_storm import (
    AGENT_POINTS,
    CHAINS,
    check_compressed,
    compressed_storm,
    run_compressed,
)
from tests.ring.ring_cluster import RingCluster
from tests.ring.strategy_storm import AGENTS, kill_at

SEEDS = int(os.environ.get("FEDBUS_RING_SEEDS", "5"))


def _seeds() -> range:
    only = os.environ.get("FEDBUS_RING_SEED")
    return range(SEEDS) if only is None else range(int(only), int(only) + 1)


@pytest.mark.parametrize("chain", CHAINS)
def test_no_round_of_compressed_updates_repeats_or_loses_anything(
    chain: str, tmp_path: Path
) -> None:
    """What agents sent and what they still keep is what their counted trainings made."""
    for seed in _seeds():
        cluster = compressed_storm(tmp_path / str(seed), seed, chain)
        try:
            check_compressed(cluster)
        except Exception as error:
            raise AssertionError(f"{chain}, seed {seed}: {error}") from error
        cluster.close()


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("step", AGENT_POINTS)
def test_an_agent_that_is_killed_at_any_step_adopts_each_residual_once(
    step: str, count: int, tmp_path: Path
) -> None:
    """A kill between offer and receipt changes nothing."""
    cluster = RingCluster(tmp_path, seed=count, agents=AGENTS, collectors=2, trains=True)
    killed = kill_at(cluster, "agent", step, count, 3.0)
    run_compressed(cluster, "sparse-bits", rounds=3)
    assert check_compressed(cluster) >= 9
    assert len(killed) == 1
    cluster.close()


@pytest.mark.parametrize("strategy", ["fedadam", "multi-krum", "fedmedian"])
def test_rules_that_keep_updates_get_decoded_ones(strategy: str, tmp_path: Path) -> None:
    """The median, Krum and server optimizers know nothing of compression."""
    cluster = RingCluster(tmp_path, seed=7, agents=AGENTS, trains=True)
    run_compressed(cluster, "sparse-bits", rounds=3, strategy=strategy)
    assert check_compressed(cluster) >= 9
    cluster.close()


@pytest.mark.parametrize(
    ("mechanism", "keys"),
    [
        ("dp-fixed", {"noise_multiplier": 0.5, "clipping_norm": 0.3}),
        ("dp-adaptive", {"noise_multiplier": 0.4, "init_clip_norm": 0.3}),
        (
            "dp-fixed",
            {"noise_multiplier": 0.5, "clipping_norm": 0.3, "server_side_noising": False},
        ),
    ],
)
def test_a_private_update_is_not_longer_for_being_compressed(
    mechanism: str, keys: dict[str, object], tmp_path: Path
) -> None:
    """A collector refuses longer ones, and the noise is for the clipping norm."""
    cluster = RingCluster(tmp_path, seed=3, agents=AGENTS, private=True)
    cluster.submit(
        rounds=3,
        transmitter=CHAINS["four-bits"],
        **{"privacy-mechanisms": {mechanism: {"num_sampled_clients": AGENTS, **keys}}},  # type: ignore[arg-type]  # keys of a job file
    )
    state = cluster.run()
    assert (state.phase, state.round) == ("finished", 3), state.reason
    assert [*cluster.ring.noted("update_refused")] == []
    key = read_noise_key(cluster.noise_key)
    with cluster.store() as store:
        checked = check_private_records(store, cluster.records.updates_of("job-1"), key)
        assert checked.rounds == 3
    cluster.close()
