"""The record of the tasks whose noisy update an agent has released."""

import os
from pathlib import Path

import pytest

from fedbus.errors import PrivacyError, StoreError
from fedbus_edge_agent.training.released_tasks import MAX_RELEASED_JOBS, ReleasedTasks
from tests.edge_agent.harness import JOB, train


def test_a_task_is_released_once(tmp_path: Path) -> None:
    """Also after a restart; a later task of the job is another one."""
    released = ReleasedTasks(tmp_path / "released")
    released.check(train(3))
    released.record(train(3))
    for number in (2, 3):
        with pytest.raises(PrivacyError, match="for task 3 already: a second one with other noise"):
            ReleasedTasks(tmp_path / "released").check(train(number))
    released.check(train(4))
    released.check(train(3, job="another"))
    released.record(train(4))
    with pytest.raises(PrivacyError, match="for task 4 already"):
        released.check(train(4))


def test_the_record_of_an_ended_job_is_removed(tmp_path: Path) -> None:
    """A second removal does nothing; nor does one that the disk refuses."""
    released = ReleasedTasks(tmp_path)
    released.record(train(3))
    released.forget(JOB)
    released.forget(JOB)
    released.check(train(3))
    (tmp_path / f"{JOB}.released").mkdir()
    released.forget(JOB)


def test_a_record_that_cannot_be_read_declines_all_tasks(tmp_path: Path) -> None:
    """It may name any task."""
    path = tmp_path / f"{JOB}.released"
    path.write_bytes(b"\xff")
    with pytest.raises(PrivacyError, match=f"UnicodeDecodeError.*remove {path.name} in its"):
        ReleasedTasks(tmp_path).check(train(1))
    path.unlink()
    path.mkdir()
    with pytest.raises(PrivacyError, match="IsADirectoryError"):
        ReleasedTasks(tmp_path).check(train(1))


def test_a_record_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """The update is not written then."""
    (tmp_path / "released").write_bytes(b"")
    with pytest.raises(StoreError, match="recording that an update is released"):
        ReleasedTasks(tmp_path / "released").record(train(1))


def test_the_oldest_records_are_dropped(tmp_path: Path) -> None:
    """An agent is not always told when a job ends."""
    released = ReleasedTasks(tmp_path)
    for number in range(MAX_RELEASED_JOBS):
        path = tmp_path / f"job-{number}.released"
        path.write_bytes(b"1")
        os.utime(path, (number, number))
    released.record(train(2, job="job-0"))  # has a record
    os.utime(tmp_path / "job-0.released", (0, 0))
    assert len([*tmp_path.iterdir()]) == MAX_RELEASED_JOBS
    released.record(train(1, job="new"))
    assert len([*tmp_path.iterdir()]) == MAX_RELEASED_JOBS
    released.check(train(1, job="job-0"))  # dropped
    with pytest.raises(PrivacyError):
        released.check(train(1, job="job-1"))
