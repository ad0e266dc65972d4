"""Highest task number of each job, for a bounded number of jobs. Pure."""

from collections import OrderedDict

MAX_NUMBERED_JOBS = 1024
"""The oldest are dropped, since an agent is not always told when a job ends."""


class TaskNumbers:
    """Maps a job to its highest recorded task number, or to 0."""

    def __init__(self) -> None:
        self._numbers: OrderedDict[str, int] = OrderedDict()

    def __getitem__(self, job: str) -> int:
        return self._numbers.get(job, 0)

    def record(self, job: str, task: int) -> None:
        """Record a task number of a job; a lower one than before changes nothing."""
        self._numbers[job] = max(self[job], task)
        self._numbers.move_to_end(job)
        while len(self._numbers) > MAX_NUMBERED_JOBS:
            self._numbers.popitem(last=False)
