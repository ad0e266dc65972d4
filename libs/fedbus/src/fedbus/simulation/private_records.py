"""Oracle of private jobs: their versions with the noise drawn again, and their ledgers.

    check_private_records(store, updates, noise_key)

A test gives it the key that its collectors have. A deployment's key is given to collectors only:
with it, the noise of all rounds can be taken away again.
"""

from collections.abc import Mapping

from fedbus.privacy.noise import KeyedNoise
from fedbus.privacy.noise_key import NoiseKey
from fedbus.simulation.ledger_check import check_ledger
from fedbus.simulation.offered_deltas import Update
from fedbus.simulation.oracle import RecordCounts, check_records
from fedbus.simulation.stored_records import EntryLike, RecordsError, StoredLedgers
from fedbus.wire.privacy import NoiseStep
from fedbus.wire.round_records import RoundRecord


def check_private_records(
    store: StoredLedgers,
    updates: Mapping[tuple[str, int], Update],
    noise_key: NoiseKey,
    *,
    job: str | None = None,
) -> RecordCounts:
    """Check all records of a repository, and the ledgers of its private jobs.

    Args:
        store: The repository's store.
        updates: Every update that agents offered, by (agent, task).
        noise_key: The collectors' key.
        job: The job whose versions are computed again; None: all jobs.

    Raises:
        RecordsError: Two records contradict each other, a version is not what its updates and its
            noise make, or a ledger states less than was released.
    """
    private: dict[str, list[RoundRecord]] = {}
    for each in store.history():
        if each.record is not None and each.record.strategy.privacy is not None:
            private.setdefault(each.record.job, []).append(each.record)
    ledgers = {name: [*store.ledger(name)] for name in private}
    for name, records in private.items():
        terms = records[0].strategy.privacy
        assert terms is not None  # noqa: S101 - chosen above
        check_ledger(name, terms, ledgers[name], records)

    def drawn_again(record: RoundRecord) -> KeyedNoise | None:
        if record.job not in ledgers:
            return None
        steps = _steps(record, ledgers[record.job])
        return KeyedNoise(noise_key, record.job, steps, record.strategy) if steps else None

    return check_records(store, updates, job=job, drawn_again=drawn_again)


def _steps(record: RoundRecord, ledger: list[EntryLike]) -> tuple[NoiseStep, ...]:
    """Return what the noise of the entries up to a round's was drawn from."""
    found = []
    for each in ledger:
        entry = each.entry
        if entry.updates is not None:
            found.append(NoiseStep(round=entry.round, task=entry.task, updates=entry.updates))
        if entry.task == record.task:
            return tuple(found)
    raise RecordsError(f"task {record.task} of job {record.job!r} has no ledger entry")
