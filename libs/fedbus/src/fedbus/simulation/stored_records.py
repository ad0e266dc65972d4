"""Records of a repository, as the oracle reads them, and their blobs."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from fedbus.core.blob_io import BlobSource
from fedbus.digest import digest_of
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.readable_weights import readable_weights
from fedbus.errors import FedbusError
from fedbus.model.blob import decode
from fedbus.model.frozen_bits import FrozenBits
from fedbus.model.layout import Layout
from fedbus.model.sections import state_layout
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, EncryptedVersion
from fedbus.wire.documents import ModelSpec
from fedbus.wire.privacy import LedgerEntry, PrivacySpent
from fedbus.wire.round_records import RoundRecord

_READ_BYTES = 1024 * 1024


class RecordsError(FedbusError):
    """The records of a repository contradict each other; the message names the record."""


class VersionLike(Protocol):
    """A stored version of a model."""

    @property
    def model(self) -> str: ...  # noqa: D102 - see ModelRef
    @property
    def version(self) -> int: ...  # noqa: D102
    @property
    def parent(self) -> int | None: ...  # noqa: D102
    @property
    def weights(self) -> BlobRef: ...  # noqa: D102
    @property
    def spec(self) -> BlobRef: ...  # noqa: D102
    @property
    def job(self) -> str | None: ...  # noqa: D102
    @property
    def round(self) -> int: ...  # noqa: D102
    @property
    def kept(self) -> bool: ...  # noqa: D102
    @property
    def encryption(self) -> EncryptedVersion | None: ...  # noqa: D102


class RoundLike(Protocol):
    """A version, and the record of the round that made it; no record for a pushed version."""

    @property
    def version(self) -> VersionLike: ...  # noqa: D102
    @property
    def record(self) -> RoundRecord | None: ...  # noqa: D102


class StoredRecords(Protocol):
    """A repository's store, in use or left by a killed process."""

    def history(self) -> Iterable[RoundLike]:
        """Read every version of every model, by model and version."""

    def open_blob(self, digest: str, /) -> BlobSource | None:
        """Find a blob."""


class EntryLike(Protocol):
    """A ledger entry, and what its job had spent with it."""

    @property
    def entry(self) -> LedgerEntry: ...  # noqa: D102 - see LedgerEntry
    @property
    def spent(self) -> PrivacySpent: ...  # noqa: D102


class StoredLedgers(StoredRecords, Protocol):
    """A repository's store with the ledgers of private jobs."""

    def ledger(self, job: str, /) -> Sequence[EntryLike]:
        """Read all entries of a job's ledger, in order."""


def name_of(version: VersionLike) -> str:
    """Return what error messages call a version."""
    return f"version {version.version} of model {version.model!r}"


def read_spec(store: StoredRecords, version: VersionLike) -> ModelSpec:
    """Read a version's model spec; raise RecordsError if the blob is missing or damaged."""
    data = read_blob(store, version.spec, f"the spec of {name_of(version)}")
    return codec.from_json(ModelSpec, data)


def read_weights(
    store: StoredRecords, version: VersionLike, key: SecretKey | None = None
) -> tuple[Layout, dict[str, NDArray[Any]]]:
    """Read a version's layout and weights; an encrypted one is decrypted with the key.

    Raises:
        RecordsError: A blob is missing or damaged.
    """
    layout = Layout.read(read_spec(store, version).layout)
    blob = read_blob(store, version.weights, f"the weights of {name_of(version)}")
    how = version.encryption
    if how is not None and key is not None:
        anchor = read_blob(store, how.anchor_weights, f"the anchor of {name_of(version)}")
        blob = bytes(readable_weights(blob, anchor, how, layout, key))
    return layout, decode(blob, layout, "plain")


def read_state(
    store: StoredRecords, record: RoundRecord, layout: Layout
) -> dict[str, NDArray[Any]]:
    """Read the arrays that a round's strategy keeps; raise RecordsError if they are damaged."""
    what = f"the state of round {record.round} of job {record.job!r}"
    arrays = None if record.state is None else record.state.arrays
    if (arrays is None) == bool(record.strategy.state):
        raise RecordsError(f"{what} has other arrays than its strategy keeps")
    if arrays is None:
        return {}
    names = state_layout(layout, record.strategy.state)
    return decode(read_blob(store, arrays, what), names, "plain")


def read_frozen(
    store: StoredRecords, record: RoundRecord | None, layout: Layout
) -> FrozenBits | None:
    """Read the numbers that the round after this one leaves out; None: none.

    Raises:
        RecordsError: They are missing or damaged.
    """
    bits = None if record is None or record.state is None else record.state.frozen
    if record is None or bits is None:
        return None
    what = f"the frozen bits of round {record.round} of job {record.job!r}"
    return FrozenBits.of_blob(read_blob(store, bits, what), layout)


def read_blob(store: StoredRecords, blob: BlobRef, what: str) -> bytes:
    """Read and check a blob, named `what` in errors; raise RecordsError if it is damaged."""
    source = store.open_blob(blob.digest)
    if source is None:
        raise RecordsError(f"{what} cannot be read")
    if source.size != blob.size:
        raise RecordsError(f"{what}: expected {blob.size} bytes, got {source.size}")
    data = b"".join(
        bytes(source.read(at, min(_READ_BYTES, blob.size - at)))
        for at in range(0, blob.size, _READ_BYTES)
    )
    if digest_of(data) != blob.digest:
        raise RecordsError(f"{what}: its content does not match its digest")
    return data
