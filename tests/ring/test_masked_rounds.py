"""Masked rounds of a whole system, without faults and with kills at each step."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fedbus.privacy.noise_key import read_noise_key
from fedbus.simulation.masked_records import readable_updates
from fedbus.simulation.network_faults import ROUGH_LINKS
from fedbus.simulation.private_records import check_private_records
from tests.ring.masked_storm import (
    MASKED,
    POINTS,
    check_masked,
    masked_cluster,
    run_masked,
)
from tests.ring.strategy_storm import kill_at

BACK_SECONDS = 3.0


def test_versions_of_masked_rounds_are_the_means_of_their_updates(tmp_path: Path) -> None:
    """With a server optimizer, too: the sum can be read."""
    cluster, releases = masked_cluster(tmp_path, 1, evaluators=1)
    with closing(cluster):
        run_masked(cluster, 3, strategy={"id": "fedadam"})
        check_masked(cluster, releases)
        assert len(releases.answers) == 3 * 5 * 5
        assert not list(cluster.folder.glob("agent.*/masking/*"))


def test_masked_rounds_on_rough_links(tmp_path: Path) -> None:
    """Steps are repeated, and answered with the same bytes."""
    cluster, releases = masked_cluster(tmp_path, 2, faults=ROUGH_LINKS)
    with closing(cluster):
        run_masked(cluster, 3)
        check_masked(cluster, releases)


CENTRAL = {"noise_multiplier": 0.7, "clipping_norm": 0.5, "num_sampled_clients": 4}
PRIVATE: Mapping[str, Mapping[str, Any]] = {
    "agents": {"dp-fixed": CENTRAL},
    "collector": {"dp-fixed": {**CENTRAL, "server_side_noising": True}},
    "banded": {"dp-banded": {**CENTRAL, "min_separation": 2, "max_participations": 3, "bands": 2}},
    "adaptive": {
        "dp-adaptive": {
            "noise_multiplier": 0.7,
            "init_clip_norm": 0.5,
            "clip_count_stddev": 2.4,
            "num_sampled_clients": 4,
        }
    },
}


@pytest.mark.parametrize("name", PRIVATE)
def test_private_masked_rounds_have_their_noise_and_their_ledger(name: str, tmp_path: Path) -> None:
    """The entry has exactly the survivors; the ranges are the same on all agents."""
    cluster, releases = masked_cluster(tmp_path, 4, agents=9)
    with closing(cluster):
        wish = {"agents": None, "quorum": 4, "deadline_seconds": 20}
        run_masked(cluster, 3, {**MASKED, **PRIVATE[name]}, wish)
        state = cluster.states["job-1"][-1]
        assert (state.phase, state.round) == ("finished", 3), state.reason
        releases.check()
        with cluster.store() as store:
            updates = readable_updates(store, cluster.records.masked_of("job-1"), job="job-1")
            checked = check_private_records(store, updates, read_noise_key(cluster.noise_key))
            assert (checked.rounds, checked.summed) == (3, 3)


@pytest.mark.parametrize(
    ("role", "step"), [(role, step) for role, points in POINTS.items() for step in points]
)
def test_a_kill_at_each_step(role: str, step: str, tmp_path: Path) -> None:
    """The round goes on, or fails and is planned again; the job finishes."""
    cluster, releases = masked_cluster(tmp_path, 3)
    with closing(cluster):
        killed = kill_at(cluster, role, step, max(1, POINTS[role][step] - 1), BACK_SECONDS)
        run_masked(cluster)
        check_masked(cluster, releases)
        assert len(killed) == 1
