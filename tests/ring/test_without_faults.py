"""Run of the ring without faults, from a job file to the last version."""

from pathlib import Path

from tests.ring.ring_cluster import RingCluster


def test_a_job_runs_all_its_rounds(tmp_path: Path) -> None:
    """Every agent counts in every round."""
    cluster = RingCluster(tmp_path)
    cluster.submit(rounds=3)
    state = cluster.run()
    assert (state.phase, state.round, state.version) == ("finished", 3, 4)
    assert cluster.ring.broker.violations == []
    assert cluster.ring.misread == []
    cluster.close()
