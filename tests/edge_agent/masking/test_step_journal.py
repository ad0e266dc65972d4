"""Journals of masked tasks: what is written is read again, and what is damaged is removed."""

import os
from pathlib import Path

import pytest

from fedbus.errors import StoreError
from fedbus_edge_agent.masking.step_journal import MAX_JOURNALS, JournalledTask, StepJournals
from tests.masked_peer import TERMS


def journalled(number: int = 1, job: str = "job-1") -> JournalledTask:
    """Return a task of a journal."""
    return JournalledTask(job=job, round=1, task=number, collector="collector.1", terms=TERMS)


def test_a_journal_is_read_again(tmp_path: Path) -> None:
    """With its terms, and with the newest steps only; only its owner can read it."""
    journals = StepJournals(tmp_path / "masking")
    assert list(journals.load()) == []
    journals.save(journalled(), b"secrets")
    journals.save(journalled(), b"secrets and shares")
    assert list(journals.load()) == [(journalled(), b"secrets and shares")]
    assert (tmp_path / "masking" / "job-1~1.steps").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "masking").stat().st_mode & 0o777 == 0o700


def test_a_removed_journal_is_gone(tmp_path: Path) -> None:
    """To remove it again, or one that was never there, changes nothing."""
    journals = StepJournals(tmp_path)
    journals.save(journalled(), b"secrets")
    for _ in range(2):
        journals.remove("job-1", 1)
        assert list(tmp_path.iterdir()) == []
    StepJournals(tmp_path / "none").remove("job-1", 1)


@pytest.mark.parametrize("content", [b"", b"\0\0\0\7secrets", b"\xff" * 9, b"\0\0\0\1\xc1"])
def test_a_damaged_journal_is_removed(content: bytes, tmp_path: Path) -> None:
    """Its agent leaves the round; nothing else is lost."""
    journals = StepJournals(tmp_path)
    journals.save(journalled(2), b"whole")
    (tmp_path / "job-1~1.steps").write_bytes(content)
    assert list(journals.load()) == [(journalled(2), b"whole")]
    assert [path.name for path in tmp_path.iterdir()] == ["job-1~2.steps"]


def test_a_journal_of_another_task_is_removed(tmp_path: Path) -> None:
    """A copy of a file under another name must not be taken for that task."""
    journals = StepJournals(tmp_path)
    journals.save(journalled(1), b"secrets")
    (tmp_path / "job-1~1.steps").rename(tmp_path / "job-1~2.steps")
    assert list(journals.load()) == []


def test_the_oldest_journals_make_room(tmp_path: Path) -> None:
    """An agent is not always told that a job has ended."""
    journals = StepJournals(tmp_path, durable=False)
    for number in range(1, MAX_JOURNALS + 3):
        journals.save(journalled(number), b"")
        os.utime(tmp_path / f"job-1~{number}.steps", ns=(number, number))
    assert [task.task for task, _ in journals.load()] == list(range(3, MAX_JOURNALS + 3))
    assert len(list(tmp_path.iterdir())) == MAX_JOURNALS


def test_a_journal_that_cannot_be_written_is_an_error_with_its_place(tmp_path: Path) -> None:
    """So nothing leaves the agent that depends on it."""
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(StoreError, match=r"journal of a masked task: .*job-1~1\.steps"):
        StepJournals(blocked).save(journalled(), b"secrets")
