"""Faults of a store's records: those that cannot be read, and those that contradict others. Pure.

A fault is a sentence that names the record. A repository may change records while they are read, so
a caller that finds a fault reads them again: what is damaged is found a second time.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

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

_A_FILE = "a model spec"


@dataclass(frozen=True, slots=True)
class NeededBlob:
    """A blob that a record needs.

    Attributes:
        size: Its bytes; None: no record states them.
        where: The record, or the last of several.
    """

    size: int | None
    where: str


@dataclass(frozen=True, slots=True)
class _CheckedJob:
    model: str
    base: int
    is_running: bool


class RecordChecks:
    """Checks of the records of a store, which are added one by one in the order of a dump.

    Attributes:
        counts: Number of readable records of each kind.
        unreadable: Number of records, or parts of the store, that cannot be read.
        needed: The blobs that the readable ones need, by digest.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.unreadable = 0
        self.needed: dict[str, NeededBlob] = {}
        self._faults: list[str] = []
        self._last: dict[str, int] = {}  # the version of each model that was added last
        self._jobs: dict[str, _CheckedJob] = {}
        self._rounds: dict[tuple[str, int], str] = {}
        self._versions: dict[tuple[str, int], bool] = {}  # whether its weights are kept
        self._specs: dict[str, str] = {}  # digest to the version that has it
        self._files: set[str] = set()
        self._names: dict[tuple[str, str], NameChange] = {}  # the last change of each

    @classmethod
    def of(cls, records: Iterable[DumpedRecord | UnreadableRecord]) -> "RecordChecks":
        """Check all records of a store."""
        checks = cls()
        for record in records:
            checks.add(record)
        return checks

    def add(self, record: DumpedRecord | UnreadableRecord) -> None:
        """Check one record against those before it."""
        if isinstance(record, UnreadableRecord):
            self.unreadable += 1
            self._faults.append(
                f"{record.where} cannot be read: {record.reason}; restore the store from a backup"
            )
            return
        self.counts[kind_of(record)] += 1
        where = _A_FILE
        match record:
            case HistoryEntry(version=version):
                where = f"version {version.version} of model {version.model!r}"
                self._faults += self._version_faults(record, where)
            case DumpedJob(job=job):
                self._jobs[job] = _CheckedJob(record.model, record.base, record.ended is None)
            case EntryFacts(entry=entry) if entry.job not in self._jobs:
                self._faults.append(f"a ledger entry of job {entry.job!r}: there is no such job")
            case NameChange(model=model, name=name):
                self._names[model, name] = record
            case StoredDocument(kind=kind, name=name):
                where = f"{kind} {name!r}"
        for digest, size in referenced_blobs(record).items():
            self._need(digest, size, where)

    def faults(self) -> list[str]:
        """Return all faults, once every record was added."""
        return [*self._faults, *self._relation_faults()]

    def notes(self) -> list[str]:
        """Return what a user may want to correct, although nothing of the store is lost by it."""
        return [
            f"the tag {change.name!r} of model {change.model!r} names version {change.version},"
            f" whose weights are deleted; `fedbus models untag {change.model} {change.name}`"
            " removes it"
            for change in self._names.values()
            if change.kind == "tag"
            and change.version is not None
            and self._versions.get((change.model, change.version)) is False
        ]

    def _need(self, digest: str, size: int | None, where: str) -> None:
        known = self.needed.get(digest)
        if where == _A_FILE:
            self._files.add(digest)
            where = known.where if known else where
        if size is None and known is not None:
            size = known.size
        self.needed[digest] = NeededBlob(size, where)

    def _version_faults(self, entry: HistoryEntry, where: str) -> Iterator[str]:
        version = entry.version
        expected = self._last.get(version.model, 0) + 1
        if version.version != expected:
            yield f"{where}: expected version {expected} next; records are missing"
        if version.parent is not None and (version.model, version.parent) not in self._versions:
            yield f"{where}: its parent, version {version.parent}, is missing"
        self._last[version.model] = version.version
        self._versions[version.model, version.version] = version.kept
        self._specs.setdefault(version.spec.digest, where)
        if version.job is None:
            return
        if entry.record is None:
            yield f"{where}: the record of its round is missing"
        key = (version.job, version.round)
        if other := self._rounds.get(key):
            yield f"{where}: round {version.round} of job {version.job!r} also made {other}"
        self._rounds[key] = where

    def _relation_faults(self) -> Iterator[str]:
        for name, job in self._jobs.items():
            if (job.model, job.base) not in self._versions:
                yield (
                    f"job {name!r}: its base, version {job.base} of model {job.model!r}, is missing"
                )
        for (job_name, _), where in self._rounds.items():
            if job_name not in self._jobs:
                yield f"{where}: its job {job_name!r} is missing"
        for change in self._names.values():
            if change.version is None:
                continue
            what = f"{change.name!r} of model {change.model!r} names version {change.version}"
            kept = self._versions.get((change.model, change.version))
            if kept is None:
                yield f"{what}, which is missing"
            elif not kept and change.kind != "tag":
                yield f"{what}, whose weights are not kept"
        running = Counter(job.model for job in self._jobs.values() if job.is_running)
        for model, count in running.items():
            if count > 1:
                yield f"model {model!r} is trained by {count} running jobs; expected one at most"
        for digest, where in self._specs.items():
            if digest not in self._files:
                yield f"{where}: its model spec {digest[:12]} is not among the files that are kept"
