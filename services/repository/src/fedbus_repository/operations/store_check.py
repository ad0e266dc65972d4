"""Check of a whole store: the database, every record, every blob, and how they fit together.

It changes nothing, and may run while a repository uses the store: a blob that retention deletes
meanwhile is not reported.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fedbus.digest import hasher
from fedbus.errors import StoreError
from fedbus.wire.messages.model_trail import NameChange
from fedbus_repository.stores.document_records import StoredDocument
from fedbus_repository.stores.dumped_records import (
    DumpedJob,
    DumpedRecord,
    UnreadableRecord,
    kind_of,
    referenced_blobs,
)
from fedbus_repository.stores.ledger_records import EntryFacts
from fedbus_repository.stores.records import HistoryEntry
from fedbus_repository.stores.store_reader import StoreReader

_BLOCK_BYTES = 1024 * 1024


@dataclass(slots=True)
class StoreFindings:
    """What a check has found.

    Attributes:
        damage: A sentence for each fault, with what is affected and how to correct it.
        counts: Number of readable records of each kind.
        blobs: Number of intact blobs that records need.
        blob_bytes: Their size.
        unneeded: Number of blobs that no record needs; the repository deletes them at its start.
    """

    damage: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    blobs: int = 0
    blob_bytes: int = 0
    unneeded: int = 0


@dataclass(slots=True)
class _Facts:
    """Facts of all records that the checks of their relations need."""

    models: dict[str, int] = field(default_factory=dict)  # the last version that was read
    jobs: dict[str, DumpedJob] = field(default_factory=dict)
    rounds: dict[tuple[str, int], str] = field(default_factory=dict)
    versions: set[tuple[str, int]] = field(default_factory=set)
    kept: set[tuple[str, int]] = field(default_factory=set)
    specs: dict[str, str] = field(default_factory=dict)  # digest to the version that has it
    files: set[str] = field(default_factory=set)
    names: dict[tuple[str, str], NameChange] = field(
        default_factory=dict
    )  # the last change of each
    needed: dict[str, tuple[int | None, str]] = field(default_factory=dict)


def check_store(
    store: StoreReader,
    on_blobs: Callable[[int], None] = lambda _: None,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> StoreFindings:
    """Check a store; `on_blobs` gets the bytes of all blobs, `on_bytes` those that were read."""
    found, facts = StoreFindings(), _Facts()
    found.damage += store.damage()
    for record in store.records():
        if isinstance(record, UnreadableRecord):
            found.damage.append(
                f"{record.where} cannot be read: {record.reason}; restore the store from a backup"
            )
            continue
        found.counts[kind_of(record)] += 1
        found.damage += _record_faults(record, facts)
    found.damage += _relation_faults(facts)
    _check_blobs(store, facts, found, on_blobs, on_bytes)
    return found


def _record_faults(record: DumpedRecord, facts: _Facts) -> Iterator[str]:
    where = ""
    match record:
        case HistoryEntry(version=version):
            where = f"version {version.version} of model {version.model!r}"
            yield from _version_faults(record, where, facts)
        case DumpedJob(job=job):
            facts.jobs[job] = record
        case EntryFacts(entry=entry) if entry.job not in facts.jobs:
            yield f"a ledger entry of job {entry.job!r}: there is no such job"
        case NameChange(model=model, name=name):
            facts.names[model, name] = record
        case StoredDocument(kind=kind, name=name):
            where = f"{kind} {name!r}"
    for digest, size in referenced_blobs(record).items():
        known = facts.needed.get(digest)
        stated = size if size is not None else known[0] if known else None
        facts.needed[digest] = (stated, where or (known[1] if known else "a model spec"))
        if not where:
            facts.files.add(digest)


def _version_faults(entry: HistoryEntry, where: str, facts: _Facts) -> Iterator[str]:
    version = entry.version
    expected = facts.models.get(version.model, 0) + 1
    if version.version != expected:
        yield f"{where}: expected version {expected} next; records are missing"
    if version.parent is not None and (version.model, version.parent) not in facts.versions:
        yield f"{where}: its parent, version {version.parent}, is missing"
    facts.models[version.model] = version.version
    facts.versions.add((version.model, version.version))
    if version.kept:
        facts.kept.add((version.model, version.version))
    facts.specs.setdefault(version.spec.digest, where)
    if version.job is None:
        return
    if entry.record is None:
        yield f"{where}: the record of its round is missing"
    key = (version.job, version.round)
    if other := facts.rounds.get(key):
        yield f"{where}: round {version.round} of job {version.job!r} also made {other}"
    facts.rounds[key] = where


def _relation_faults(facts: _Facts) -> Iterator[str]:
    for name, job in facts.jobs.items():
        if (job.model, job.base) not in facts.versions:
            yield f"job {name!r}: its base, version {job.base} of model {job.model!r}, is missing"
    for job_name, number in facts.rounds:
        if job_name not in facts.jobs:
            yield f"{facts.rounds[job_name, number]}: its job {job_name!r} is missing"
    for change in facts.names.values():
        if change.version is not None and (change.model, change.version) not in facts.kept:
            yield (
                f"{change.name!r} of model {change.model!r} names version {change.version}, whose"
                " weights are not kept"
            )
    running = Counter(job.model for job in facts.jobs.values() if job.ended is None)
    for model, count in running.items():
        if count > 1:
            yield f"model {model!r} is trained by {count} running jobs; expected one at most"
    for digest, where in facts.specs.items():
        if digest not in facts.files:
            yield f"{where}: its model spec {digest[:12]} is not among the files that are kept"


def _check_blobs(
    store: StoreReader,
    facts: _Facts,
    found: StoreFindings,
    on_blobs: Callable[[int], None],
    on_bytes: Callable[[int], None],
) -> None:
    stored = dict(store.blobs())
    on_blobs(sum(size for digest, size in stored.items() if digest in facts.needed))
    suspects: list[str] = []
    for digest, (size, where) in facts.needed.items():
        fault = _blob_fault(store, digest, size, on_bytes)
        if fault is None:
            found.blobs += 1
            found.blob_bytes += stored.get(digest, size or 0)
        else:
            suspects.append(digest)
            facts.needed[digest] = (size, f"{where}: blob {digest} {fault}")
    found.unneeded = len(stored.keys() - facts.needed.keys())
    if suspects:
        store.refresh()  # retention may have deleted them, with a record of it
        needed = {
            digest
            for record in store.records()
            if not isinstance(record, UnreadableRecord)
            for digest in referenced_blobs(record)
        }
        found.damage += [
            f"{facts.needed[digest][1]}; copy it from a backup, or push the version again"
            for digest in suspects
            if digest in needed
        ]


def _blob_fault(
    store: StoreReader, digest: str, size: int | None, on_bytes: Callable[[int], None]
) -> str | None:
    source = store.open_blob(digest)
    if source is None:
        return "is missing"
    if size is not None and source.size != size:
        return f"has {source.size} bytes, expected {size}"
    content = hasher()
    try:
        for offset in range(0, source.size, _BLOCK_BYTES):
            block = source.read(offset, _BLOCK_BYTES)
            content.update(block)
            on_bytes(len(block))
    except StoreError as error:
        return f"cannot be read: {error}"
    return None if content.hexdigest() == digest else "is damaged: its digest is another one"
