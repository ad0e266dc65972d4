"""Model specs of the store, read and checked. Called in threads."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from fedbus.compression import chain_of, compressed_bounds
from fedbus.compression.compressed_header import read_compressed_header
from fedbus.data.model_input import has_several_inputs
from fedbus.digest import digest_of
from fedbus.encryption.encrypted_blob import MAX_ENCRYPTED_HEADER_BYTES
from fedbus.errors import FedbusError, LayoutError, PluginError, StoreDamagedError, TransferError
from fedbus.frameworks.tflite.signatures import SET_TERMS
from fedbus.frameworks.tflite.verify import verify
from fedbus.model.blob_header import MAX_BLOB_HEADER_BYTES, check_header, check_size
from fedbus.model.frozen_bits import frozen_layout
from fedbus.model.layout import Layout
from fedbus.model.sections import state_layout
from fedbus.text import listed
from fedbus.wire import codec
from fedbus.wire.announced_names import abbreviate_names
from fedbus.wire.blobs import BlobRef, CompressedBlob, EncryptedVersion
from fedbus.wire.documents import ModelNeeds, ModelSpec
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus.wire.spec_files import named_files
from fedbus_repository.handlers.encrypted_versions import (
    check_encrypted_round,
    check_encrypted_size,
    check_encryption_key,
    check_rotated_header,
)
from fedbus_repository.handlers.pushed_contents import TFLITE
from fedbus_repository.stores.base import Store, Upload

MAX_CACHED_LAYOUTS = 64
MAX_NEEDS_BYTES = 4096
"""Size of the `ModelNeeds` that a controller gets; an input format takes about a hundred bytes."""
MAX_INPUT_KEYS = 32
_THIN = "the thin blob"
_ENCRYPTED = "the encrypted weights"


def _state_of(record: RoundRecord) -> str:
    return f"the state of strategy {record.strategy.id!r} ({listed(record.strategy.state)})"


def _check_thin_size(thin: CompressedBlob, layout: Layout) -> None:
    """Raise LayoutError unless weights that these steps make smaller can have this size."""
    bounds = compressed_bounds(layout, thin.compression, content="plain")
    if not bounds.least <= thin.blob.size <= bounds.most:
        raise LayoutError(f"expected {bounds.text} bytes, got {thin.blob.size}")


@dataclass(frozen=True, slots=True)
class PlainBlob:
    """A blob of a round that must be a plain one of a layout; `what` names it."""

    what: str
    blob: BlobRef
    layout: Layout


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Name the blob that a LayoutError is about, or a PluginError of a compression step."""
    try:
        yield
    except (LayoutError, PluginError) as error:
        raise LayoutError(f"{what}: {error}") from error


class SpecReader:
    """Reads specs, and caches layouts, since every commit of a job needs the same one.

    Attributes:
        encryption_key: The id of the key that new versions may be encrypted with; None: of any.
    """

    def __init__(self, store: Store, encryption_key: str | None = None) -> None:
        self.encryption_key = encryption_key
        self._store = store
        self._layouts: dict[str, Layout] = {}

    def read(
        self, spec: BlobRef, uploads: Sequence[Upload] = (), *, pushed: bool = False
    ) -> ModelSpec:
        """Read a spec, from its upload if it is not kept yet.

        A `pushed` spec must be unambiguous JSON: no repeated key, no NaN.

        Raises:
            TransferError: Its digest is not the expected one.
            WireError: It is not a spec.
            StoreError: The store does not have it.
        """
        data = self._bytes(spec, uploads, spec.size)
        if digest_of(data) != spec.digest:
            raise TransferError(f"expected a spec of digest {spec.digest[:12]}, got another blob")
        return (codec.from_foreign_json if pushed else codec.from_json)(ModelSpec, data)

    def layout(self, spec: BlobRef) -> Layout:
        """Return the layout of a kept spec; raise FedbusError if there is none."""
        layout = self._layouts.get(spec.digest)
        if layout is None:
            layout = Layout.read(self.read(spec).layout)
            if len(self._layouts) >= MAX_CACHED_LAYOUTS:
                self._layouts.clear()
            self._layouts[spec.digest] = layout
        return layout

    def needs(self, spec: BlobRef) -> ModelNeeds | None:
        """Return what a spec requires of an agent; None if the spec cannot be read."""
        try:
            found = self.read(spec)
        except FedbusError:
            return None  # agents decline its tasks with the reason
        needs = ModelNeeds(
            architectures=tuple(sorted(found.architectures)),
            input=found.input,
            classes=abbreviate_names(found.classes),
            least_batch=found.least_batch,
            answers=found.answers,
            trains=bool(found.layout) and not has_several_inputs(found.input),
        )
        if len(codec.to_json(needs)) <= MAX_NEEDS_BYTES and len(found.input) <= MAX_INPUT_KEYS:
            return needs
        return replace(needs, input={})

    def shared_tensors(self, spec: BlobRef) -> int:
        """Return the number of tensors that are not local; 0 if the spec cannot be read."""
        try:
            return len(self.layout(spec).shared)
        except FedbusError:
            return 0  # as for `needs`

    def lacks_terms(self, spec: BlobRef) -> bool:
        """Return whether the `.tflite` file of a spec was exported without a strategy's terms.

        False as well if the spec has no such file, or one that cannot be read.
        """
        try:
            architecture = self.read(spec).architectures[TFLITE]
            (file,) = named_files([(TFLITE, architecture)])
            return SET_TERMS not in verify(self.read_blob(file, 0, file.size)).signatures
        except (FedbusError, KeyError, ValueError):
            return False  # agents decline its tasks with the reason

    def check_sizes(self, weights: BlobRef, record: RoundRecord) -> None:
        """Raise LayoutError if the blobs of a round cannot have these sizes, before any is fetched.

        The arrays of the state are those that the strategy names, for the layout of the weights.
        """
        for each in self._plain_blobs(weights, record):
            with _named(each.what):
                check_size(each.blob.size, each.layout, "plain")
        if (terms := record.strategy.encryption) is not None:
            with _named(_ENCRYPTED):
                check_encryption_key(terms.key, self.encryption_key)
                check_encrypted_size(weights.size, terms, self.layout(record.spec))
        if (thin := record.thin) is not None:
            with _named(_THIN):
                _check_thin_size(thin, self.layout(record.spec))

    def check_round(
        self, weights: BlobRef, record: RoundRecord, plan: Plan | None, uploads: Sequence[Upload]
    ) -> None:
        """Raise LayoutError if the blobs of a round, by header and size, are not as it was planned.

        Plain ones have its layouts; an encrypted one has its ranges, too.
        """
        for each in self._plain_blobs(weights, record):
            with _named(each.what):
                self.check_weights(each.blob, each.layout, uploads)
        if record.strategy.encryption is not None and plan is not None:
            prefix = self._bytes(weights, uploads, min(weights.size, MAX_ENCRYPTED_HEADER_BYTES))
            with _named(_ENCRYPTED):
                layout = self.layout(record.spec)
                check_encrypted_round(prefix, weights.size, layout, record, plan)
        if (thin := record.thin) is not None:
            prefix = self._bytes(thin.blob, uploads, min(thin.blob.size, MAX_BLOB_HEADER_BYTES))
            with _named(_THIN):
                chain = chain_of(thin.compression)
                read_compressed_header(prefix, self.layout(record.spec), chain)

    def _plain_blobs(self, weights: BlobRef, record: RoundRecord) -> Iterator[PlainBlob]:
        """Yield the blobs of a round in the encoding `plain`: weights, and those of its state.

        Raises:
            LayoutError: The strategy keeps arrays or freezes numbers of a model that trains none.
        """
        layout, state = self.layout(record.spec), record.state
        if record.strategy.encryption is None:
            yield PlainBlob("the weights", weights, layout)
        if state is not None and state.arrays is not None:
            arrays = state_layout(layout, record.strategy.state)
            yield PlainBlob(_state_of(record), state.arrays, arrays)
        if state is not None and state.frozen is not None:
            yield PlainBlob("the bits of frozen numbers", state.frozen, frozen_layout(layout))

    def check_weights(
        self, weights: BlobRef, layout: Layout, uploads: Sequence[Upload] = ()
    ) -> None:
        """Raise LayoutError if weights, by header and size, are no plain blob of this layout."""
        prefix = self._bytes(weights, uploads, min(weights.size, MAX_BLOB_HEADER_BYTES))
        check_header(prefix, weights.size, layout, "plain")

    def check_rotated(
        self,
        weights: BlobRef,
        layout: Layout,
        encryption: EncryptedVersion,
        uploads: Sequence[Upload] = (),
    ) -> None:
        """Raise LayoutError if a blob, by its header, is not encrypted as it is said to be."""
        prefix = self._bytes(weights, uploads, min(weights.size, MAX_ENCRYPTED_HEADER_BYTES))
        with _named(_ENCRYPTED):
            check_rotated_header(prefix, weights.size, layout, encryption)

    def read_blob(self, blob: BlobRef, offset: int, length: int) -> bytes:
        """Read a part of a kept blob; raise StoreError if the store does not have it."""
        source = self._store.open_blob(blob.digest)
        if source is None:
            raise StoreDamagedError(
                f"blob {blob.digest[:12]} is missing from the store; push the model again"
            )
        return bytes(source.read(offset, min(length, max(0, blob.size - offset))))

    def _bytes(self, blob: BlobRef, uploads: Sequence[Upload], length: int) -> bytes:
        for upload in uploads:
            if upload.blob_ref == blob:
                return upload.read(0, length)
        return self.read_blob(blob, 0, length)
