"""What a model's spec says: its layout, and the files its architectures name."""

from collections.abc import Sequence
from dataclasses import replace

from fedbus.digest import digest_of
from fedbus.errors import FedbusError, StoreError, TransferError
from fedbus.model.blob import MAX_PREFIX, check_header
from fedbus.model.layout import Layout
from fedbus.wire import codec
from fedbus.wire.announced_names import shortened
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelNeeds, ModelSpec
from fedbus_repository.stores.base import Store, Upload

REMEMBERED = 64
MAX_NEEDS = 4096
"""Bytes of what is told to controllers of a spec; a format takes a hundred."""
MOST_KEYS = 32


class SpecReader:
    """Reads specs, and remembers the layouts: a commit asks for the same one round after round."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._layouts: dict[str, Layout] = {}

    def read(
        self, spec: BlobRef, uploads: Sequence[Upload] = (), *, pushed: bool = False
    ) -> ModelSpec:
        """Read a spec, from its upload while it is not kept yet.

        A spec that is `pushed` must be JSON of one meaning: no key twice, no NaN.

        Raises:
            TransferError: it is not what its blob_ref names.
            WireError: it is no spec.
            StoreError: it is not here.
        """
        data = self._bytes(spec, uploads, spec.size)
        if digest_of(data) != spec.digest:
            raise TransferError(f"the spec named {spec.digest[:12]} holds something else")
        return (codec.from_foreign_json if pushed else codec.from_json)(ModelSpec, data)

    def layout(self, spec: BlobRef) -> Layout:
        """Read the layout from a spec that is kept.

        Raises:
            FedbusError: as `read`, or LayoutError.
        """
        layout = self._layouts.get(spec.digest)
        if layout is None:
            layout = Layout.read(self.read(spec).layout)
            if len(self._layouts) >= REMEMBERED:
                self._layouts.clear()
            self._layouts[spec.digest] = layout
        return layout

    def needs(self, spec: BlobRef) -> ModelNeeds | None:
        """Read what a spec wants of an agent; None where that cannot be read."""
        try:
            found = self.read(spec)
        except FedbusError:
            return None  # agents will say what is wrong with it
        said = ModelNeeds(
            architectures=tuple(sorted(found.architectures)),
            input=found.input,
            classes=shortened(found.classes),
            least_batch=found.least_batch,
            answers=found.answers,
        )
        if len(codec.to_json(said)) <= MAX_NEEDS and len(found.input) <= MOST_KEYS:
            return said
        return replace(said, input={})

    def check(self, weights: BlobRef, layout: Layout, uploads: Sequence[Upload] = ()) -> None:
        """Refuse weights that are not a plain blob of this layout, by their header and size.

        Raises:
            LayoutError: they are not.
            StoreError: they are not here.
        """
        prefix = self._bytes(weights, uploads, min(weights.size, MAX_PREFIX))
        check_header(prefix, weights.size, layout, "plain")

    def read_blob(self, blob: BlobRef, offset: int, length: int) -> bytes:
        """Read a part of a blob that is kept.

        Raises:
            StoreError: it is not here.
        """
        source = self._store.open_blob(blob.digest)
        if source is None:
            raise StoreError(f"blob {blob.digest[:12]} is not here any more")
        return bytes(source.read(offset, min(length, max(0, blob.size - offset))))

    def _bytes(self, blob: BlobRef, uploads: Sequence[Upload], length: int) -> bytes:
        for upload in uploads:
            if upload.blob_ref == blob:
                return upload.read(0, length)
        return self.read_blob(blob, 0, length)
