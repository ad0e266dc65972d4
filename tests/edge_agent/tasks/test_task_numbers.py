"""How far each job has come here, for the jobs heard of last."""

from fedbus_edge_agent.tasks.task_numbers import MAX_NUMBERED_JOBS, TaskNumbers


def test_a_mark_never_falls() -> None:
    """Orders overtake each other; a task that is done stays done."""
    marks = TaskNumbers()
    assert marks["job-1"] == 0
    for task in (3, 5, 4):
        marks.record("job-1", task)
    assert marks["job-1"] == 5


def test_the_jobs_heard_of_last_are_known() -> None:
    """A job that goes on is never among those that are dropped."""
    marks = TaskNumbers()
    for number in range(2 * MAX_NUMBERED_JOBS):
        marks.record("long", number)
        marks.record(f"short-{number}", 1)
    assert marks["long"] == 2 * MAX_NUMBERED_JOBS - 1
    known = [number for number in range(2 * MAX_NUMBERED_JOBS) if marks[f"short-{number}"]]
    assert known == list(range(MAX_NUMBERED_JOBS + 1, 2 * MAX_NUMBERED_JOBS))
