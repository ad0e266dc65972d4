"""Rounds that have ended at a collector: the newest, within bounds. Pure."""

from collections import OrderedDict
from collections.abc import Iterator

from fedbus.wire.messages import RoundEnded
from fedbus.wire.round_records import Plan
from fedbus_collector.keys import RoundEndReport

MAX_ENDED_ROUNDS = 256
MAX_ENDED_UPDATES = 16_384
"""Counted updates of all kept rounds together; those of a large cohort take megabytes."""


class EndedRounds:
    """How each round ended, oldest first, and the reports that are not acknowledged."""

    def __init__(self) -> None:
        self._rounds: OrderedDict[tuple[str, int], RoundEnded] = OrderedDict()
        self._undecided: set[tuple[str, int]] = set()
        self._updates = 0
        self._reports: dict[RoundEndReport, None] = {}

    def get(self, job: str, task: int) -> RoundEnded | None:
        """Return how a round ended; None if it is not kept."""
        return self._rounds.get((job, task))

    def is_undecided(self, ended: RoundEnded) -> bool:
        """Return whether a round ended before the repository answered its commit."""
        return (ended.job, ended.task) in self._undecided

    def add(self, ended: RoundEnded, *, undecided: bool) -> Iterator[RoundEndReport]:
        """Keep a round; yield the open reports of the rounds that are discarded for it."""
        key = (ended.job, ended.task)
        self._forget(key)
        self._rounds[key] = ended
        if undecided:
            self._undecided.add(key)
        self._updates += _updates(ended)
        while len(self._rounds) > MAX_ENDED_ROUNDS or (
            len(self._rounds) > 1 and self._updates > MAX_ENDED_UPDATES
        ):
            oldest = next(iter(self._rounds))
            self._forget(oldest)
            report = RoundEndReport(*oldest)
            if self.remove_report(report):
                yield report

    def add_report(self, report: RoundEndReport) -> None:
        """Add a report, which is sent until the controller acknowledges it."""
        self._reports[report] = None

    def remove_report(self, report: RoundEndReport) -> bool:
        """Remove a report; return whether it was still being sent."""
        return self._reports.pop(report, 0) is None

    def take_reports(self, job: str) -> list[RoundEndReport]:
        """Remove and return the reports of a job that are still being sent."""
        found = [report for report in self._reports if report.job == job]
        for report in found:
            del self._reports[report]
        return found

    def end_of(self, plan: Plan) -> RoundEnded | None:
        """Return how this plan ended, or the commit of its round under another plan."""
        for (job, task), ended in self._rounds.items():
            committed = ended.version is not None and ended.round == plan.round
            if job == plan.job and (task == plan.task or committed):
                return ended
        return None

    def has_later(self, plan: Plan) -> bool:
        """Return whether a later plan of the job has already ended."""
        return any(job == plan.job and task > plan.task for job, task in self._rounds)

    def _forget(self, key: tuple[str, int]) -> None:
        ended = self._rounds.pop(key, None)
        self._undecided.discard(key)
        if ended is not None:
            self._updates -= _updates(ended)


def _updates(ended: RoundEnded) -> int:
    return 0 if ended.record is None else len(ended.record.contributors)
