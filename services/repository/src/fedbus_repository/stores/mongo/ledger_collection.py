# ruff: noqa: D102 - the methods are documented in LedgerRecords
"""Ledgers of jobs in MongoDB, each entry one document that is never changed and never deleted.

A plan whose agents pay when they are asked brings its entry with it. MongoDB changes one document
atomically, so the job's document gets both at once, the entry as `owed`. Whatever reads jobs, or
the entries of a job in their order, copies it into the ledger first, and each decision about a
ledger begins with one of these reads: so none sees the state that a process leaves which is killed
between the two writes.
"""

from collections.abc import Iterator
from typing import Final

from fedbus_repository.stores.ledger_records import EntryFacts
from fedbus_repository.stores.mongo.collections import Collections
from fedbus_repository.stores.mongo.documents import (
    Document,
    facts_of,
    ledger_document,
    owed_to,
)

JOBS: Final = "jobs"
LEDGER: Final = "ledger"
LAST_FIRST: Final = (("number", -1),)


class LedgerCollection:
    """`LedgerRecords` in MongoDB."""

    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    def entry_of(self, job: str, task: int) -> EntryFacts | None:
        found = self._collections.find_one(LEDGER, {"job": job, "task": task})
        return None if found is None else facts_of(found)

    def last_entry(self, job: str) -> EntryFacts | None:
        found = self._last(job)
        return None if found is None else facts_of(found)

    def entries_after(self, job: str, number: int) -> Iterator[EntryFacts]:
        self._settle_named(job)
        found = self._collections.each(
            LEDGER, {"job": job, "number": {"$gt": number}}, order=(("number", 1),)
        )
        return (facts_of(each) for each in found)

    def entries(self, job: str) -> int:
        found = self._last(job)
        return 0 if found is None else int(found["number"])

    def asked_agents(self, job: str) -> int:
        found = self._last(job)
        return 0 if found is None else int(found["asked"])

    def append_entry(self, facts: EntryFacts) -> None:
        before = self._last(facts.entry.job)
        self._collections.insert(LEDGER, ledger_document(facts, before))

    def _last(self, job: str) -> Document | None:
        return self._collections.find_one(LEDGER, {"job": job}, order=LAST_FIRST)

    def _settle_named(self, job: str) -> None:
        found = self._collections.find_one(JOBS, {"_id": job}, fields={"owed": 1})
        if found is not None:
            self._settle(found)

    def _settle(self, document: Document) -> None:
        """Copy what a job's document owes its ledger, unless that has it already."""
        owed = owed_to(document)
        if owed is None:
            return
        job, task = owed.entry.job, owed.entry.task
        if self.entry_of(job, task) is None:  # else it was copied before, and not yet removed here
            self.append_entry(owed)
        self._collections.update(JOBS, {"_id": job, "owed.task": task}, {"$unset": {"owed": ""}})
