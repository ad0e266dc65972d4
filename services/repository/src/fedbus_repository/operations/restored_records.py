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


class RestoredRecords:
    """Changes each record of a backup made at `made`, in their order, as it is restored at `now`.

    Attributes:
        private_models: Models of jobs that have a ledger, which may lack what was released since.
    """

    def __init__(self, made: Timestamp, now: Timestamp) -> None:
        self._made, self._now = made, now
        self._models: dict[str, str] = {}
        self.private_models: set[str] = set()

    def change(self, record: DumpedRecord) -> DumpedRecord:
        """Return a record as it is restored."""
        match record:
            case Lease(epoch=epoch):
                return replace(record, epoch=epoch + EPOCHS_SKIPPED)
            case DumpedJob():
                self._models[record.job] = record.model
                if record.strategy is not None and record.strategy.privacy is not None:
                    self.private_models.add(record.model)
                return record if record.ended is not None else self._ended(record)
            case EntryFacts(entry=entry):
                self.private_models.add(self._models.get(entry.job, entry.job))
        return record

    def _ended(self, job: DumpedJob) -> DumpedJob:
        reason = (
            f"the store was restored from its backup of {self._made}; submit the job again, with"
            " `fedbus job submit --again`"
        )
        end = JobEnd(job=job.job, phase="failed", reason=reason, at=self._now)
        return replace(job, ended=end, unsettled=None)


def ledger_warning(models: Iterable[str]) -> str:
    """Format why a backup with ledgers is not restored without a statement of its operator."""
    return (
        f"jobs with a privacy mechanism have trained {', '.join(sorted(models))}; noise that was"
        " drawn after the backup is not in its ledger, and ε would be stated too low. If no such"
        " job ran since then, add --ledgers-complete. Else add it too, and push the weights of"
        " these models again with `fedbus models push --reset` before a job trains them: their own"
        " ε is then for you to state"
    )
