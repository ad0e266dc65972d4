"""End of a round, and what agents and the controller are told about it. Pure."""

from collections.abc import Iterator
from typing import Literal, TypeAlias

from fedbus.core.actions import Action, Cancel, Note
from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.wire.blobs import ModelRef
from fedbus.wire.messages import RoundEnded
from fedbus.wire.round_records import RoundRecord
from fedbus_collector import keys
from fedbus_collector.rounds.progress import RoundPhase, RoundProgress
from fedbus_collector.rounds.round_components import RoundComponents

Verdict: TypeAlias = Literal["stored", "drop"]


class RoundEnding:
    """Ends one round, and frees what it used.

    Attributes:
        report: The report for the controller; None while the round is open.
        undecided: Whether only the repository knows which updates of the ended round count.
    """

    def __init__(self, progress: RoundProgress, components: RoundComponents) -> None:
        self.progress = progress
        self.components = components
        self.report: RoundEnded | None = None
        self.undecided = False

    def committed(self, version: ModelRef, record: RoundRecord, now: float) -> Iterator[Action]:
        """End the round with a version, and send each agent its receipt."""
        yield from _receipts_of_commit(self.progress, record)
        self.components.aggregate.keep(version, record)
        yield Note("round_committed", self.progress.log_facts(version=version.version, at=now))
        yield from self._end(version, "", record)

    def failed(self, reason: str, *, decided: bool) -> Iterator[Action]:
        """End the round without a version.

        Agents get their receipts if it is `decided` that their updates will never count.
        """
        self.undecided = not decided
        if decided:
            yield from _receipts_of_failure(self.progress, reason)
        yield Note("round_failed", self.progress.log_facts(reason=reason))
        yield from self._end(None, reason, None)

    def _end(
        self, version: ModelRef | None, reason: str, record: RoundRecord | None
    ) -> Iterator[Action]:
        self.progress.phase = RoundPhase.ENDED
        self.report = _report_of_end(self.progress, version, reason, record)
        for key in (keys.RoundDeadline, keys.LedgerRequest, keys.CommitRequest):
            yield Cancel(key(*self.progress.key))
        yield from self.components.cancel()
        if not self.components.busy:
            self.close()

    def close(self) -> None:
        """Free all spools; call it only when no worker thread is busy.

        Inputs of a failed round go into the cache: the controller will plan the round again.
        """
        failed = self.report is not None and self.report.version is None
        self.components.close(keep_inputs=failed)


def _receipts_of_commit(progress: RoundProgress, record: RoundRecord) -> Iterator[Action]:
    """Notify each agent with an accepted offer whether its update is in the committed version."""
    task = progress.plan.task
    counted = {each.agent for each in record.contributors if each.task == task}
    for agent in progress.awaiting_receipt:
        verdict: Verdict = "stored" if agent in counted else "drop"
        yield progress.receipt(agent, verdict, "the round is committed")


def _receipts_of_failure(progress: RoundProgress, reason: str) -> Iterator[Action]:
    """Notify each agent with an accepted offer that its update will never count."""
    for agent in progress.awaiting_receipt:
        yield progress.receipt(agent, "drop", f"the round failed: {reason}")


def _report_of_end(
    progress: RoundProgress, version: ModelRef | None, reason: str, record: RoundRecord | None
) -> RoundEnded:
    """Return the report for the controller; without a version the round failed for a reason."""
    plan = progress.plan
    return RoundEnded(
        job=plan.job,
        round=plan.round,
        task=plan.task,
        version=version,
        reason=reason[:MAX_TEXT_CHARACTERS],
        record=record,
    )


def reason_of_failed_work(run: keys.RoundRun, error: Exception, *, private: bool) -> str:
    """Return in words that may be published why a call in a worker thread has failed."""
    if isinstance(run, keys.NoiseKeyRead):
        return str(error)  # it names the file
    if isinstance(run, keys.AggregateRun) and private:
        return f"{run.work}: it failed; the reason is in the collector's log"
    return f"{run.work}: {error}"
