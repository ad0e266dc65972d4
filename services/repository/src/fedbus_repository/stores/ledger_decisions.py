# ruff: noqa: D102 - the methods are documented in Store
"""Decisions about the ledgers of jobs: entries, and what jobs have spent.

The ε of an entry takes up to a second to compute, so that is done between two transactions: the
first one decides what would be released, and the second one stores it if that is still so.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from fedbus.errors import PluginError
from fedbus.privacy.budget import budget_fault
from fedbus.privacy.ledger import Composition, Ledger
from fedbus.privacy.ledger_entries import trains_on_features
from fedbus.wire.privacy import LedgerEntry, PrivacySpent, PrivacyTerms
from fedbus.wire.round_records import Plan
from fedbus.wire.strategies import Strategy
from fedbus_repository.stores import privacy_rules, rules
from fedbus_repository.stores.ledger_reading import entry_of_round, jobs_since_push, spent_by
from fedbus_repository.stores.ledger_records import (
    AllowedEntry,
    EntryFacts,
    JobLedger,
    ModelPrivacy,
    RecordedNoise,
    Spent,
)
from fedbus_repository.stores.model_epsilon import new_job_fault, spent_by_each
from fedbus_repository.stores.record_database import RecordDatabase, Records
from fedbus_repository.stores.records import StoredJob, StoreRefusal

MAX_CACHED_LEDGERS: Final = 16
"""Ledgers in memory; another one is read again from its entries."""

Accountant: TypeAlias = Callable[[PrivacyTerms, Composition, Iterable[Spent]], PrivacySpent]
"""Computes what a job has spent, of its terms, its ledger and what other jobs have spent on the
model; raises PluginError if it cannot."""


class LedgerDecisions:
    """The part of a `Store` that concerns the ledgers of jobs."""

    def __init__(self, database: RecordDatabase, accountant: Accountant) -> None:
        self._database, self._accountant = database, accountant
        self._cached: OrderedDict[str, Ledger] = OrderedDict()

    def record_noise(self, entry: LedgerEntry) -> RecordedNoise | StoreRefusal:
        what = f"storing a ledger entry of job {entry.job}"
        with self._database.reading(what) as records:
            answer = self._noise_answer(records, entry)
        while isinstance(answer, AllowedEntry):
            allowed = answer
            if fault := budget_fault(answer.terms, answer.before, answer.after):
                return StoreRefusal(fault)
            spent = self._spent_after(answer)
            with self._database.writing(what) as records:
                answer = self._noise_answer(records, entry)
                if answer == allowed:
                    records.append_entry(EntryFacts(entry=entry, spent=spent))
            if answer == allowed:
                with self._database.reading(what) as records:
                    answer = self._noise_answer(records, entry)
        return answer

    def job_ledger(self, job: str) -> JobLedger:
        with self._database.reading(f"reading the ledger of job {job}") as records:
            found = records.job(job)
            if found is None or found.terms is None:
                return JobLedger()
            if found.ended is not None:
                spent = spent_by(records, job)
                return JobLedger(spent=spent, entries=spent.entries if spent else 0)
            return self._summary(records, found.job, found.terms)

    def ledger(self, job: str) -> list[EntryFacts]:
        with self._database.reading(f"reading the ledger of job {job}") as records:
            return list(records.entries_after(job, 0))

    def model_privacy(self, model: str) -> ModelPrivacy | StoreRefusal:
        with self._database.reading(f"reading what was spent on model {model}") as records:
            latest = records.latest(model)
            if latest is None:
                return unknown_model(records, model)
            return ModelPrivacy(version=latest.version, jobs=jobs_since_push(records, model))

    def check_private_job(self, model: str, private: Strategy) -> StoreRefusal | None:
        with self._database.reading(f"checking what was spent on model {model}") as records:
            if refusal := private_job_refusal(records, model, private):
                return refusal
        assert private.privacy is not None  # noqa: S101 - it is the strategy of a private job
        first = privacy_rules.first_allowed_entry(private.privacy)
        try:
            self._spent_after(first)
            fault = budget_fault(first.terms, first.before, first.after)
        except PluginError as error:
            return StoreRefusal(str(error), privacy_rules.PRIVACY_KEY)
        return StoreRefusal(fault, privacy_rules.TARGET_KEY) if fault else None

    def _noise_answer(
        self, records: Records, entry: LedgerEntry
    ) -> RecordedNoise | StoreRefusal | AllowedEntry:
        """Return the answer to an entry; an allowed one may be stored if its ε allows it."""
        job = records.job(entry.job)
        if job is None:
            return StoreRefusal(rules.unknown_job(entry.job))
        ledger = self._ledger(records, entry.job)
        if ledger.has(entry) and job.terms is not None:
            found = records.entry_of(entry.job, entry.task)
            assert found is not None  # noqa: S101 - entries are never deleted
            steps = ledger.steps() if job.terms.correlated else ()
            return RecordedNoise(spent=found.spent, steps=steps)
        if job.plan is not None and job.terms is not None and job.plan.task == entry.task:
            paid = entry_of_round(records, job, entry.task)
            if paid is not None and trains_on_features(job.plan, job.terms):
                return RecordedNoise(spent=paid.spent)
        fault = privacy_rules.noise_fault(entry, job, ledger)
        if fault or job.terms is None:
            return StoreRefusal(fault or "")
        after = ledger.composition_with(entry.agents, entry.noise_multiplier)
        return self._allowed_entry(records, job, job.terms, ledger.composition(), after)

    def _allowed_entry(
        self,
        records: Records,
        job: StoredJob,
        terms: PrivacyTerms,
        before: Composition,
        after: Composition,
    ) -> AllowedEntry:
        jobs = jobs_since_push(records, job.model)
        others = [each for each in jobs if each.job != job.job]
        spent = spent_by_each(others, terms.unit)
        return AllowedEntry(terms=terms, before=before, after=after, earlier=spent)

    def _spent_after(self, allowed: AllowedEntry) -> PrivacySpent:
        """Return what a job has spent with an entry; slow, so called outside transactions."""
        return self._accountant(allowed.terms, allowed.after, allowed.earlier)

    def _summary(
        self, records: Records, job: str, terms: PrivacyTerms, refused: Plan | None = None
    ) -> JobLedger:
        """Return a job's ledger for its controller; of a refused plan, its cohort comes first."""
        ledger = self._ledger(records, job)
        entries, found = ledger.entries, ledger.participations()
        if refused is None:
            ordered = privacy_rules.ordered_by_use(terms, found, entries)
        else:
            ordered = privacy_rules.ordered_by_plan(refused, terms, found, entries)
        spent = spent_by(records, job)
        return JobLedger(spent=spent, entries=entries, participations=ordered)

    def _ledger(self, records: Records, job: str) -> Ledger:
        """Return a job's ledger, with the entries that were stored since it was read last.

        Not to be called after an entry was written in the same transaction, which may still fail.
        """
        ledger = self._cached.setdefault(job, Ledger())
        self._cached.move_to_end(job)
        while len(self._cached) > MAX_CACHED_LEDGERS:
            self._cached.popitem(last=False)
        for each in records.entries_after(job, ledger.entries):
            ledger.append(each.entry)
        return ledger


def unknown_model(records: Records, model: str) -> StoreRefusal:
    """Return the refusal of a model that no version exists of."""
    return StoreRefusal(rules.unknown_model(model, records.models()), "model_name", "unknown")


def private_job_refusal(records: Records, model: str, private: Strategy) -> StoreRefusal | None:
    """Return the refusal of a job whose mechanism cannot continue a model's ε."""
    assert private.privacy is not None  # noqa: S101 - it is the strategy of a private job
    fault = new_job_fault(private.privacy, model, jobs_since_push(records, model))
    return StoreRefusal(fault, privacy_rules.PRIVACY_KEY) if fault else None
