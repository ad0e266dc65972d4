"""The rounds that have ended at a collector, within bounds. Pure."""

from collections import OrderedDict
from collections.abc import Iterator

from fedbus.wire.messages import RoundEnded
from fedbus.wire.round_records import Plan
from fedbus_collector.keys import RoundEndReport

MAX_ROUNDS = 256
MAX_UPDATES = 16_384
"""Of all rounds that are kept: the updates that counted in them. A large cohort takes megabytes."""


class EndedRounds:
    """How each round ended, the oldest first, and which reports of it are not yet acknowledged."""

    def __init__(self) -> None:
        self._rounds: OrderedDict[tuple[str, int], RoundEnded] = OrderedDict()
        self._updates = 0
        self._reports: dict[RoundEndReport, None] = {}

    def __contains__(self, key: tuple[str, int]) -> bool:
        return key in self._rounds

    def get(self, job: str, task: int) -> RoundEnded | None:
        """Return how a round ended; None if it is not known here."""
        return self._rounds.get((job, task))

    def add(self, ended: RoundEnded) -> Iterator[RoundEndReport]:
        """Keep a round; yield the reports of those that are forgotten for it, never its own."""
        key = (ended.job, ended.task)
        self._forget(key)
        self._rounds[key] = ended
        self._updates += _updates(ended)
        while len(self._rounds) > MAX_ROUNDS or (
            len(self._rounds) > 1 and self._updates > MAX_UPDATES
        ):
            oldest = next(iter(self._rounds))
            self._forget(oldest)
            report = RoundEndReport(*oldest)
            if self.acknowledged(report):
                yield report

    def reporting(self, report: RoundEndReport) -> None:
        """Note that a report is sent until it is acknowledged."""
        self._reports[report] = None

    def acknowledged(self, report: RoundEndReport) -> bool:
        """Note that a report need not be sent any more; return whether it still was."""
        return self._reports.pop(report, 0) is None

    def unacknowledged(self, job: str) -> list[RoundEndReport]:
        """Take the reports of a job that are still sent."""
        found = [report for report in self._reports if report.job == job]
        for report in found:
            del self._reports[report]
        return found

    def known(self, plan: Plan) -> RoundEnded | None:
        """Find how this very plan ended, or that its round was committed by another."""
        for (job, task), ended in self._rounds.items():
            committed = ended.version is not None and ended.round == plan.round
            if job == plan.job and (task == plan.task or committed):
                return ended
        return None

    def overtook(self, plan: Plan) -> bool:
        """Whether a later plan of the job has ended already."""
        return any(job == plan.job and task > plan.task for job, task in self._rounds)

    def _forget(self, key: tuple[str, int]) -> None:
        ended = self._rounds.pop(key, None)
        if ended is not None:
            self._updates -= _updates(ended)


def _updates(ended: RoundEnded) -> int:
    return 0 if ended.record is None else len(ended.record.contributors)
