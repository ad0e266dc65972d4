"""Failures of one round in a row: what is told of them, and after how many the job fails. Pure."""

from collections.abc import Generator

from fedbus.core.actions import Action, Note
from fedbus_controller.job_progress import JobProgress
from fedbus_controller.published_reasons import ControllerSentence

MAX_FAILED_ROUNDS = 3
"""Failures of one round in a row, after which the job fails."""


class FailedRounds:
    """Counts the failures of the next round of one job."""

    def __init__(self) -> None:
        self._count = 0

    def committed(self) -> None:
        """Begin again with the next round."""
        self._count = 0

    def add(self, progress: JobProgress, reason: str) -> Generator[Action, None, str]:
        """Log a failure; return why the job fails, or "" if the round is tried again.

        What a collector reports of a private job may quote agents: it is in the collector's log,
        and neither in a document nor in the controller's log.
        """
        self._count += 1
        if progress.hides_agents and not isinstance(reason, ControllerSentence):
            collector = "the collector" if progress.plan is None else progress.plan.collector
            reason = (
                f"the reason is in the log of {collector}: round_failed; why an agent declined is "
                "in its own: `fedbus logs AGENT`"
            )
        number = progress.rounds + 1
        failed = f"round {number} failed"
        progress.tell(ControllerSentence(f"{failed}: {reason}"))
        yield Note("round_failed", {"job": progress.job, "round": number, "reason": reason})
        if self._count < MAX_FAILED_ROUNDS:
            return ""
        return ControllerSentence(f"{failed} {self._count} times in a row, the last time: {reason}")
