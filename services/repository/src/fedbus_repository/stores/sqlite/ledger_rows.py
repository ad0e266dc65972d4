# ruff: noqa: D102 - the methods are documented in LedgerRecords
"""SQL for the ledgers of jobs: rows to records and back. Rows are never changed and never deleted.

Entries, and what their jobs had spent with them, are stored in their wire encoding (msgpack).
"""

import sqlite3
from collections.abc import Iterator

from fedbus.wire import codec
from fedbus.wire.privacy import LedgerEntry, PrivacySpent
from fedbus_repository.stores.ledger_records import EntryFacts


class LedgerRows:
    """`LedgerRecords` in SQLite."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def entry_of(self, job: str, task: int) -> EntryFacts | None:
        return next(self._entries_where("job = ? AND task = ?", job, task), None)

    def last_entry(self, job: str) -> EntryFacts | None:
        return next(self._entries_where("job = ? ORDER BY number DESC LIMIT 1", job), None)

    def entries_after(self, job: str, number: int) -> Iterator[EntryFacts]:
        return self._entries_where("job = ? AND number > ? ORDER BY number", job, number)

    def entries(self, job: str) -> int:
        (found,) = self._db.execute("SELECT COUNT(*) FROM ledger WHERE job = ?", (job,)).fetchone()
        return int(found)

    def asked_agents(self, job: str) -> int:
        (found,) = self._db.execute(
            "SELECT COALESCE(SUM(agents), 0) FROM ledger WHERE job = ?", (job,)
        ).fetchone()
        return int(found)

    def append_entry(self, facts: EntryFacts) -> None:
        entry, spent = facts.entry, facts.spent
        self._db.execute(
            "INSERT INTO ledger (job, number, task, agents, spent, entry)"
            " SELECT ?, 1 + COALESCE(MAX(number), 0), ?, ?, ?, ? FROM ledger WHERE job = ?",
            (
                *(entry.job, entry.task, len(entry.agents), codec.pack(spent), codec.pack(entry)),
                entry.job,
            ),
        )

    def _entries_where(self, where: str, *values: object) -> Iterator[EntryFacts]:
        found = self._db.execute(f"SELECT entry, spent FROM ledger WHERE {where}", values)  # noqa: S608 - constants
        for entry, spent in found:
            yield EntryFacts(
                entry=codec.unpack(LedgerEntry, entry), spent=codec.unpack(PrivacySpent, spent)
            )
