"""SQL for the ledgers of jobs: rows to records and back. Rows are never changed and never deleted.

Entries, and what their jobs had spent with them, are stored in their wire encoding (msgpack).
"""

import sqlite3
from collections.abc import Iterator

from fedbus.privacy.ledger_entries import trains_on_features
from fedbus.wire import codec
from fedbus.wire.privacy import JobPrivacy, LedgerEntry, PrivacySpent
from fedbus.wire.strategies import Strategy
from fedbus_repository.stores.ledger_records import EntryFacts
from fedbus_repository.stores.records import StoredJob
from fedbus_repository.stores.sqlite import version_rows


def append(db: sqlite3.Connection, entry: LedgerEntry, spent: PrivacySpent) -> None:
    """Write the next entry of a job's ledger."""
    db.execute(
        "INSERT INTO ledger (job, number, task, agents, spent, entry)"
        " SELECT ?, 1 + COALESCE(MAX(number), 0), ?, ?, ?, ? FROM ledger WHERE job = ?",
        (
            *(entry.job, entry.task, len(entry.agents), codec.pack(spent), codec.pack(entry)),
            entry.job,
        ),
    )


def entry_of(db: sqlite3.Connection, job: str, task: int) -> EntryFacts | None:
    """Read the entry of a task, and what its job had spent with it."""
    row = db.execute(
        "SELECT entry, spent FROM ledger WHERE job = ? AND task = ?", (job, task)
    ).fetchone()
    if row is None:
        return None
    entry, spent = row
    return EntryFacts(
        entry=codec.unpack(LedgerEntry, entry), spent=codec.unpack(PrivacySpent, spent)
    )


def entry_of_round(db: sqlite3.Connection, job: StoredJob, task: int) -> EntryFacts | None:
    """Read the entry that a round of this task depends on.

    A round that trains on features has none of its own: the last one paid for the features.
    """
    plan, terms = job.plan, job.terms
    if plan is None or terms is None or plan.task != task or not trains_on_features(plan, terms):
        return entry_of(db, job.job, task)
    (last,) = db.execute("SELECT MAX(task) FROM ledger WHERE job = ?", (job.job,)).fetchone()
    return None if last is None else entry_of(db, job.job, last)


def entries_after(db: sqlite3.Connection, job: str, number: int) -> Iterator[LedgerEntry]:
    """Read the entries of a job after the one of this number, in order."""
    rows = db.execute(
        "SELECT entry FROM ledger WHERE job = ? AND number > ? ORDER BY number", (job, number)
    )
    return (codec.unpack(LedgerEntry, entry) for (entry,) in rows)


def ledger_of(db: sqlite3.Connection, job: str) -> list[EntryFacts]:
    """Read all entries of a job in order, each with what the job had spent with it."""
    rows = db.execute("SELECT entry, spent FROM ledger WHERE job = ? ORDER BY number", (job,))
    return [
        EntryFacts(entry=codec.unpack(LedgerEntry, entry), spent=codec.unpack(PrivacySpent, spent))
        for entry, spent in rows
    ]


def asked_agents(db: sqlite3.Connection, job: str) -> int:
    """Return the number of agents in all entries of a job."""
    (found,) = db.execute(
        "SELECT COALESCE(SUM(agents), 0) FROM ledger WHERE job = ?", (job,)
    ).fetchone()
    return int(found)


def spent_by(db: sqlite3.Connection, job: str) -> PrivacySpent | None:
    """Read what a job has spent; None before its first entry."""
    row = db.execute(
        "SELECT spent FROM ledger WHERE job = ? ORDER BY number DESC LIMIT 1", (job,)
    ).fetchone()
    return None if row is None else codec.unpack(PrivacySpent, row[0])


def jobs_since_push(db: sqlite3.Connection, model: str) -> tuple[JobPrivacy, ...]:
    """Read what each job has spent on a model since its weights were pushed last, oldest first."""
    rows = db.execute(
        "SELECT job, phase = 'running', created, strategy FROM jobs"
        " WHERE model = ? AND base >= ? ORDER BY rowid",
        (model, version_rows.last_pushed(db, model)),
    )
    return tuple(_job_privacy(db, *row) for row in rows)


def _job_privacy(
    db: sqlite3.Connection, job: str, running: int, created: str, strategy: bytes | None
) -> JobPrivacy:
    rounds, first, last = db.execute(
        "SELECT COUNT(*), MIN(version), MAX(version) FROM versions WHERE job = ?", (job,)
    ).fetchone()
    (entries,) = db.execute("SELECT COUNT(*) FROM ledger WHERE job = ?", (job,)).fetchone()
    spent = spent_by(db, job)
    terms = None if strategy is None else codec.unpack(Strategy, strategy).privacy
    # Features are gathered by a plan without a round, and rounds that train on them have no entry.
    paid = 1 if spent is not None and spent.mechanism == "mistnet" else rounds
    return JobPrivacy(
        job=job,
        rounds=rounds,
        running=bool(running),
        spent=spent,
        failed=max(0, entries - paid),
        first_version=first,
        last_version=last,
        submitted=created,
        mechanism=None if terms is None else terms.mechanism,
    )
