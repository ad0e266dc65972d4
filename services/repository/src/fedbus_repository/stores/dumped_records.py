"""Records of a store as they are copied: to a backup, or to a database of another kind. Pure.

A dump is a sequence of records in a fixed order: the lease, jobs in the order of their submission,
changes of names, versions by model and number, files, ledgers by job, configurations, and documents
of other programs. So a dump of a store in use, whose database has no snapshots, names no version or
file that it lacks. Each record has one canonical encoding (msgpack): the digests of two dumps are
equal if and only if the stores hold the same.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import msgpack

from fedbus.digest import hasher
from fedbus.errors import StoreError, WireError
from fedbus.wire import codec
from fedbus.wire.identifiers import Timestamp
from fedbus.wire.messages.model_trail import NameChange
from fedbus.wire.round_records import Plan
from fedbus.wire.strategies import Strategy
from fedbus_repository.stores.document_records import StoredDocument
from fedbus_repository.stores.ledger_records import EntryFacts
from fedbus_repository.stores.records import HistoryEntry, JobEnd, Lease, StoredConfiguration


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpedJob:
    """A job with all that a store keeps of it.

    Attributes:
        base: The model's latest version when the job was stored.
        origin: Digest of the submission that it came from.
        unsettled: The epoch of the controller that has yet to acknowledge that submission.
    """

    job: str
    model: str
    base: int
    file: bytes
    secret: bytes
    submitted: Timestamp
    ended: JobEnd | None
    plan: Plan | None
    continues_state: bool
    forgotten: bool
    strategy: Strategy | None
    noise_key: str | None
    origin: str | None
    unsettled: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpedFile:
    """A blob that the store keeps for good: a spec, or a file that a spec names."""

    digest: str


DumpedRecord: TypeAlias = (
    Lease
    | DumpedFile
    | DumpedJob
    | HistoryEntry
    | EntryFacts
    | StoredDocument
    | NameChange
    | StoredConfiguration
)
KINDS: Final[dict[str, type[Any]]] = {
    "lease": Lease,
    "file": DumpedFile,
    "job": DumpedJob,
    "version": HistoryEntry,
    "ledger entry": EntryFacts,
    "configuration": StoredConfiguration,
    "document": StoredDocument,
    "name change": NameChange,
}
_NAMES: Final = {kind: name for name, kind in KINDS.items()}


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """A record that cannot be read: where it is, and why."""

    where: str
    reason: str


def kind_of(record: DumpedRecord) -> str:
    """Return the name of a record's kind, for counts."""
    return _NAMES[type(record)]


def encode_record(record: DumpedRecord) -> bytes:
    """Encode a record as `[kind, fields]`; equal records have equal bytes."""
    packed: bytes = msgpack.packb([kind_of(record), codec.pack(record)])
    return packed


def decode_record(packed: bytes) -> DumpedRecord:
    """Decode a record; raise StoreError if it is damaged or of a kind that is not known here."""
    try:
        kind, fields = msgpack.unpackb(packed)
        record: DumpedRecord = codec.unpack(KINDS[kind], fields)
    except KeyError as error:
        raise StoreError(
            f"a record of the unknown kind {error}: a newer version of fedbus wrote it"
        ) from error
    except (ValueError, TypeError, msgpack.UnpackException, WireError) as error:
        raise StoreError(f"a damaged record: {error}") from error
    return record


@dataclass(slots=True)
class DumpDigest:
    """Counts of the records of a dump by kind, and one digest of each kind."""

    counts: Counter[str] = field(default_factory=Counter)
    _hashers: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[DumpedRecord]) -> "DumpDigest":
        """Compute the counts and digests of a dump."""
        found = cls()
        for record in records:
            found.add(record)
        return found

    def add(self, record: DumpedRecord) -> bytes:
        """Add a record and return its encoding."""
        packed = encode_record(record)
        self.add_encoded(kind_of(record), packed)
        return packed

    def add_encoded(self, kind: str, packed: bytes) -> None:
        """Add the encoding of a record."""
        self.counts[kind] += 1
        digest = self._hashers.setdefault(kind, hasher())
        digest.update(len(packed).to_bytes(8, "big"))
        digest.update(packed)

    @property
    def digests(self) -> dict[str, str]:
        """The digest of all records of each kind, in their order."""
        return {kind: str(each.hexdigest()) for kind, each in sorted(self._hashers.items())}


def referenced_blobs(record: DumpedRecord) -> dict[str, int | None]:
    """Return the digests of the blobs that a record needs, with their sizes where it states them.

    A version whose weights are deleted needs none of its own any more.
    """
    match record:
        case DumpedFile(digest=digest):
            return {digest: None}
        case HistoryEntry(version=version) if version.kept:
            return {blob.digest: blob.size for blob in version.blobs}
        case StoredDocument(blob=blob) if blob is not None:
            return {blob.digest: blob.size}
    return {}
