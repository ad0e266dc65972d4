"""Jobs as a controller asks for them: by id or by origin, unless its epoch is over."""

from fedbus.wire.identifiers import Timestamp
from fedbus_repository.stores import rules
from fedbus_repository.stores.record_database import Records
from fedbus_repository.stores.records import JobAnswer, Origin, StaleLease, StoreRefusal


def stale_lease(records: Records, epoch: int) -> StaleLease | None:
    """Return the current lease's epoch if the sender's is lower."""
    held = records.lease()
    return StaleLease(held.epoch) if held is not None and epoch < held.epoch else None


def find_job(records: Records, epoch: int, name: str) -> JobAnswer:
    """Return a job, unless the sender's epoch is over."""
    return stale_lease(records, epoch) or records.job(name) or StoreRefusal(rules.unknown_job(name))


def find_submitted(
    records: Records, epoch: int, name: str, origin: Origin | None, now: Timestamp
) -> JobAnswer:
    """Return the job of an id, or the job that a submission of this origin has become already."""
    found = find_job(records, epoch, name)
    if origin is None or not isinstance(found, StoreRefusal):
        return found
    earlier = records.newest_of_origin(origin.digest)
    if earlier is None or not rules.repeats(earlier, origin, now):
        return found
    return find_job(records, epoch, earlier.job)
