"""Answers to requests that a transaction of the embedded store reads before it writes."""

import sqlite3

from fedbus.wire.blobs import BlobRef
from fedbus.wire.identifiers import Timestamp
from fedbus.wire.round_records import RoundRecord
from fedbus_repository.stores import rules
from fedbus_repository.stores.records import (
    HistoryEntry,
    JobAnswer,
    Origin,
    StaleLease,
    StoreRefusal,
    Version,
)
from fedbus_repository.stores.sqlite import job_rows, version_rows


def stale_lease(db: sqlite3.Connection, epoch: int) -> StaleLease | None:
    """Return the current lease's epoch if the sender's is lower."""
    held = job_rows.lease(db)
    return StaleLease(held.epoch) if held is not None and epoch < held.epoch else None


def find_job(db: sqlite3.Connection, epoch: int, name: str) -> JobAnswer:
    """Return the job of an id."""
    return stale_lease(db, epoch) or job_rows.job(db, name) or StoreRefusal(rules.unknown_job(name))


def find_submitted(
    db: sqlite3.Connection, epoch: int, name: str, origin: Origin | None, now: Timestamp
) -> JobAnswer:
    """Return the job of an id, or the job that a submission of this origin has become already."""
    found = find_job(db, epoch, name)
    if origin is None or not isinstance(found, StoreRefusal):
        return found
    earlier = job_rows.newest_of_origin(db, origin.digest)
    if earlier is None or not rules.repeats(earlier, origin, now):
        return found
    return find_job(db, epoch, earlier.job)


def unknown_model(db: sqlite3.Connection, model: str) -> StoreRefusal:
    """Return the refusal of a model that no version exists of."""
    known = (each.model for each in version_rows.latest_of_all(db))
    return StoreRefusal(rules.unknown_model(model, known), "model_name")


def commit_answer(
    db: sqlite3.Connection, record: RoundRecord, weights: BlobRef
) -> HistoryEntry | StoreRefusal | None:
    """Return the answer to a commit; None: it may be inserted."""
    committed = version_rows.committed_round(db, record.job, record.round)
    if committed is not None:
        return committed
    job = job_rows.job(db, record.job)
    if job is None:
        return StoreRefusal(rules.unknown_job(record.job))
    context = rules.CommitContext(
        model=job.model,
        ended=job.ended,
        plan=job.plan,
        latest=version_rows.latest(db, job.model) or job.base,
        counted=version_rows.counted_updates(db, record.job, record.task),
    )
    reason = rules.commit_fault(record, weights, context)
    return None if reason is None else StoreRefusal(reason)


def push_answer(
    db: sqlite3.Connection, model: str, spec: BlobRef, weights: BlobRef, *, reset: bool
) -> Version | StoreRefusal | None:
    """Return the answer to a push; None: it may be inserted."""
    latest = version_rows.latest(db, model)
    if latest is not None and (latest.spec, latest.weights) == (spec, weights):
        return latest
    job = job_rows.running_job(db, model)
    if job is not None:
        return StoreRefusal(rules.model_in_training(model, job))
    if latest is not None and latest.job is not None and not reset:
        return StoreRefusal(rules.would_replace_trained(latest))
    return None
