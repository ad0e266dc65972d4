"""The ring without faults: a job runs from its file to its last version."""

from pathlib import Path

from tests.ring.house import House


def test_a_job_runs_all_its_rounds(tmp_path: Path) -> None:
    """Every agent counts in every round."""
    house = House(tmp_path)
    house.submit(rounds=3)
    state = house.run()
    assert (state.phase, state.round, state.version) == ("finished", 3, 4)
    assert house.ring.broker.violations == []
    assert house.ring.misread == []
