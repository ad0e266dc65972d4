"""Highest task number of each job."""

from fedbus_edge_agent.tasks.task_numbers import MAX_NUMBERED_JOBS, TaskNumbers


def test_a_recorded_number_never_falls() -> None:
    """Tasks overtake each other; a task that is done stays done."""
    marks = TaskNumbers()
    assert marks["job-1"] == 0
    for task in (3, 5, 4):
        marks.record("job-1", task)
    assert marks["job-1"] == 5


def test_the_jobs_recorded_last_are_kept() -> None:
    """An active job is never among those that are dropped."""
    marks = TaskNumbers()
    for number in range(2 * MAX_NUMBERED_JOBS):
        marks.record("long", number)
        marks.record(f"short-{number}", 1)
    assert marks["long"] == 2 * MAX_NUMBERED_JOBS - 1
    known = [number for number in range(2 * MAX_NUMBERED_JOBS) if marks[f"short-{number}"]]
    assert known == list(range(MAX_NUMBERED_JOBS + 1, 2 * MAX_NUMBERED_JOBS))
