"""Changes that records of a backup need before a repository continues with them. Pure.

Nodes have seen more than an older backup knows. They refuse a controller whose epoch is lower than
one that they have heard, so the restored lease gets a much higher one. Agents answer the number of
a task only once, so a job that was running is ended: a new job asks under its own numbers.
"""

from collections.abc import Iterable
from dataclasses import replace

from fedbus.wire.identifiers import Timestamp
from fedbus_repository.stores.dumped_records import DumpedJob, DumpedRecord
from fedbus_repository.stores.ledger_records import EntryFacts
from fedbus_repository.stores.records import JobEnd, Lease

EPOCHS_SKIPPED = 1_000_000
"""Leases that may have been granted between the backup and its restoration."""


def restored(record: DumpedRecord, made: Timestamp, now: Timestamp) -> DumpedRecord:
    """Return a record of a backup made at `made` as it is restored at `now`."""
    match record:
        case Lease(epoch=epoch):
            return replace(record, epoch=epoch + EPOCHS_SKIPPED)
        case DumpedJob(ended=None):
            reason = (
                f"the store was restored from its backup of {made}; submit the job again, with"
                " `fedbus job submit --again`"
            )
            end = JobEnd(job=record.job, phase="failed", reason=reason, at=now)
            return replace(record, ended=end, unsettled=None)
    return record


def private_models(records: Iterable[DumpedRecord]) -> tuple[str, ...]:
    """Return the models of jobs that have a ledger, which may lack what was released since."""
    models: dict[str, str] = {}
    private: set[str] = set()
    for record in records:
        if isinstance(record, DumpedJob):
            models[record.job] = record.model
            if record.strategy is not None and record.strategy.privacy is not None:
                private.add(record.model)
        elif isinstance(record, EntryFacts):
            private.add(models.get(record.entry.job, record.entry.job))
    return tuple(sorted(private))


def ledger_warning(models: Iterable[str]) -> str:
    """Format why a backup with ledgers is not restored without a statement of its operator."""
    return (
        f"jobs with a privacy mechanism have trained {', '.join(models)}; noise that was drawn"
        " after the backup is not in its ledger, and ε would be stated too low. If no such job ran"
        " since then, add --ledgers-complete. Else add it too, and push the weights of these models"
        " again with `fedbus models push --reset` before a job trains them: their own ε is then for"
        " you to state"
    )
