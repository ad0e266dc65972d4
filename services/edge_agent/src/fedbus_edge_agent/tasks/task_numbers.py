"""How far each job has come here: a task's number by job, for the jobs heard of last. Pure."""

from collections import OrderedDict

MAX_NUMBERED_JOBS = 1024
"""An agent is not always told that a job is over, so the marks of the oldest are dropped."""


class TaskNumbers:
    """The highest number noted for each job; 0 where none is, or it was too long ago."""

    def __init__(self) -> None:
        self._marks: OrderedDict[str, int] = OrderedDict()

    def __getitem__(self, job: str) -> int:
        return self._marks.get(job, 0)

    def note(self, job: str, task: int) -> None:
        """Note a task of a job; a lower number than before changes nothing."""
        self._marks[job] = max(self[job], task)
        self._marks.move_to_end(job)
        while len(self._marks) > MAX_NUMBERED_JOBS:
            self._marks.popitem(last=False)
