"""Oracle: consistency check of all records of a repository.

    check_records(store)             version numbers and rounds increase, parents link, no update
                                     counts twice, blobs match their digests
    check_records(store, updates)    and each version and each strategy's state are what a second
                                     implementation makes of the base and of the updates

Every fault test ends with it. It reads the records and the blobs, and trusts no derived state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from fedbus.simulation.aggregate_check import DrawAgain, check_aggregate
from fedbus.simulation.encrypted_check import check_encrypted
from fedbus.simulation.offered_deltas import Update
from fedbus.simulation.stored_records import (
    RecordsError,
    RoundLike,
    StoredRecords,
    VersionLike,
    name_of,
    read_blob,
    read_frozen,
    read_spec,
    read_state,
    read_weights,
)
from fedbus.simulation.thin_check import check_thin
from fedbus.wire.blobs import BlobRef


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """Numbers of checked records; a test that expects rounds asserts their number.

    `summed` are the rounds whose version was computed again: not those of third-party parts.
    """

    versions: int
    rounds: int
    summed: int


def check_records(
    store: StoredRecords,
    updates: Mapping[tuple[str, int], Update] | None = None,
    *,
    job: str | None = None,
    drawn_again: DrawAgain = lambda _: None,
) -> RecordCounts:
    """Check all records of a repository.

    Args:
        store: The repository's store.
        updates: Every update that agents offered, by (agent, task). With them the aggregates are
            computed again, where the weights of a version and of its parent are still stored.
        job: The job whose aggregates are checked; None: all jobs.
        drawn_again: Returns the noise of a private round; `private_records.py` has one.

    Raises:
        RecordsError: two records contradict each other, or a blob is missing or damaged.
    """
    history = list(store.history())
    for _, versions in groupby(history, lambda each: each.version.model):
        _check_versions([each.version for each in versions])
    rounds = [each for each in history if each.record is not None or each.version.job is not None]
    _check_rounds(rounds)
    entries = {(each.version.model, each.version.version): each for each in history}
    for each in rounds:
        _check_state_rounds(each, entries)
    for each in history:
        _check_blobs(store, each)
    summed = 0
    if updates is not None:
        for each in rounds:
            assert each.record is not None  # noqa: S101 - checked above
            parent = entries[each.record.model, each.record.parent]
            kept = each.version.kept and parent.version.kept
            readable = each.version.encryption is None
            if job in {None, each.record.job} and kept and readable:
                summed += check_aggregate(store, each, parent, updates, drawn_again)
    return RecordCounts(versions=len(history), rounds=len(rounds), summed=summed)


def _check_versions(versions: list[VersionLike]) -> None:
    """Check that versions count from 1, each with the one before as parent, the last one kept."""
    before: int | None = None
    for each in versions:
        if each.version != (before or 0) + 1:
            raise RecordsError(f"{name_of(each)} follows version {before}")
        if each.parent != before:
            raise RecordsError(f"{name_of(each)}: expected parent {before}, got {each.parent}")
        before = each.version
    if not versions[-1].kept:
        raise RecordsError(f"{name_of(versions[-1])}, the newest one, has lost its weights")


def _check_rounds(rounds: list[RoundLike]) -> None:
    """Check that the rounds of a job increase with its versions, and no update counts twice."""
    last: dict[str, int] = {}
    counted: dict[tuple[str, str, int], int] = {}
    for each in rounds:
        version, record = each.version, each.record
        what = f"round {version.round} of job {version.job!r}"
        if record is None or version.job is None:
            raise RecordsError(f"{what} has no record, or its record has no job")
        stated = (record.job, record.round, record.model, record.parent, record.spec)
        if stated != (version.job, version.round, version.model, version.parent, version.spec):
            raise RecordsError(f"{what} made {name_of(version)}, which its record contradicts")
        if version.round <= last.get(version.job, 0):
            raise RecordsError(f"{what} follows round {last[version.job]}")
        last[version.job] = version.round
        for one in record.contributors:
            update = (record.job, one.agent, one.task)
            if update in counted:
                raise RecordsError(
                    f"{what} counts {one.agent}'s update for task {one.task},"
                    f" which counted in round {counted[update]}"
                )
            counted[update] = version.round


def _check_state_rounds(each: RoundLike, entries: Mapping[tuple[str, int], RoundLike]) -> None:
    """Check that a strategy's state counts one round more than the state of its base.

    Only a job's first round may begin a new state.
    """
    record = each.record
    assert record is not None  # noqa: S101 - the caller has checked
    what = f"round {record.round} of job {record.job!r}"
    if record.state is None:
        if record.strategy.state:
            raise RecordsError(f"{what} has no state, where its strategy keeps some")
        return
    before = entries[record.model, record.parent].record
    continued = 1 if before is None or before.state is None else before.state.rounds + 1
    allowed = {continued} if before is not None and before.job == record.job else {1, continued}
    if record.state.rounds not in allowed:
        raise RecordsError(
            f"{what} left the state of round {record.state.rounds}, expected {continued}"
        )


def _check_blobs(store: StoredRecords, each: RoundLike) -> None:
    """Check the blobs of a version: its spec, and the files of the spec.

    If the version is kept, also its weights, its thin blob, and what its strategy keeps with it.
    """
    version = each.version
    for name, architecture in read_spec(store, version).architectures.items():
        if "blob" in architecture:
            ref = BlobRef(**architecture["blob"])
            read_blob(store, ref, f"the {name} file of {name_of(version)}")
    if version.kept and version.encryption is not None:
        check_encrypted(store, each, version.encryption)
    elif version.kept:
        layout, weights = read_weights(store, version)
        if each.record is not None:
            read_state(store, each.record, layout)
            read_frozen(store, each.record, layout)
            check_thin(store, each.record, layout, weights)
