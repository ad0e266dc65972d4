"""Rounds that have ended at a collector: the newest, within bounds. Pure."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Literal

from fedbus.core.actions import Action, Ask, Send
from fedbus.wire.messages import LookUp, Offer, Receipt, RoundEnded
from fedbus.wire.round_records import Plan
from fedbus_collector.keys import RoundEndReport, UpdateLookup

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

    def answer_late_offer(self, agent: str, offer: Offer, repository: str) -> Action:
        """Send the receipt for an offer whose round is not open, or ask the repository for it.

        The repository is asked if the round may have ended before this process started, or before
        its commit was answered.
        """
        job, task = offer.job, offer.task
        ended = self._rounds.get((job, task))
        if ended is None or (job, task) in self._undecided:
            look_up = LookUp(job=job, agent=agent, task=task)
            return Ask(UpdateLookup(job, task, agent), repository, look_up)
        counted = ended.record is not None and any(
            each.agent == agent and each.task == task for each in ended.record.contributors
        )
        verdict: Literal["stored", "drop"] = "stored" if counted else "drop"
        reason = "" if counted else f"round {offer.round} ended without this update"
        return Send(agent, Receipt(job=job, task=task, verdict=verdict, reason=reason))

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
