"""End of a round, and what agents and the controller are told about it. Pure."""

from collections.abc import Iterator
from typing import Literal, TypeAlias

from fedbus.core.actions import Action
from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.wire.blobs import ModelRef
from fedbus.wire.messages import RoundEnded
from fedbus.wire.round_records import RoundRecord
from fedbus_collector import keys
from fedbus_collector.rounds.progress import RoundProgress

Verdict: TypeAlias = Literal["stored", "drop"]


def receipts_of_commit(progress: RoundProgress, record: RoundRecord) -> Iterator[Action]:
    """Notify each agent with an accepted offer whether its update is in the committed version."""
    task = progress.plan.task
    counted = {each.agent for each in record.contributors if each.task == task}
    for agent in progress.awaiting_receipt:
        verdict: Verdict = "stored" if agent in counted else "drop"
        yield progress.receipt(agent, verdict, "the round is committed")


def receipts_of_failure(progress: RoundProgress, reason: str) -> Iterator[Action]:
    """Notify each agent with an accepted offer that its update will never count."""
    for agent in progress.awaiting_receipt:
        yield progress.receipt(agent, "drop", f"the round failed: {reason}")


def report_of_end(
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
