"""What a model's card says: its layout, and the files its structures name."""

from collections.abc import Sequence
from dataclasses import replace

from fedbus.digests import digest_of
from fedbus.errors import FedbusError, StoreError, TransferError
from fedbus.layout import Layout
from fedbus.weights import MAX_PREFIX, check_header
from fedbus.wire import codec
from fedbus.wire.announced_names import shortened
from fedbus.wire.states import ModelCard, ModelNeeds
from fedbus.wire.values import Manifest
from fedbus_repository.store import Store, Upload

REMEMBERED = 64
MAX_NEEDS = 4096
"""Bytes of what is told to controllers of a card; a format takes a hundred."""
MOST_KEYS = 32


class Cards:
    """Reads cards, and remembers the layouts: a commit asks for the same one round after round."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._layouts: dict[str, Layout] = {}

    def read(
        self, card: Manifest, uploads: Sequence[Upload] = (), *, pushed: bool = False
    ) -> ModelCard:
        """Read a card, from its upload while it is not kept yet.

        A card that is `pushed` must be JSON of one meaning: no key twice, no NaN.

        Raises:
            TransferError: it is not what its manifest names.
            WireError: it is no card.
            StoreError: it is not here.
        """
        data = self._bytes(card, uploads, card.size)
        if digest_of(data) != card.digest:
            raise TransferError(f"the card named {card.digest[:12]} holds something else")
        return (codec.from_foreign_json if pushed else codec.from_json)(ModelCard, data)

    def layout(self, card: Manifest) -> Layout:
        """Read the layout from a card that is kept.

        Raises:
            FedbusError: as `read`, or LayoutError.
        """
        layout = self._layouts.get(card.digest)
        if layout is None:
            layout = Layout.read(self.read(card).layout)
            if len(self._layouts) >= REMEMBERED:
                self._layouts.clear()
            self._layouts[card.digest] = layout
        return layout

    def needs(self, card: Manifest) -> ModelNeeds | None:
        """Read what a card wants of an agent; None where that cannot be read."""
        try:
            found = self.read(card)
        except FedbusError:
            return None  # agents will say what is wrong with it
        said = ModelNeeds(
            structures=tuple(sorted(found.structures)),
            input=found.input,
            classes=shortened(found.classes),
            least_batch=found.least_batch,
            answers=found.answers,
        )
        if len(codec.to_json(said)) <= MAX_NEEDS and len(found.input) <= MOST_KEYS:
            return said
        return replace(said, input={})

    def check(self, weights: Manifest, layout: Layout, uploads: Sequence[Upload] = ()) -> None:
        """Refuse weights that are not a plain blob of this layout, by their header and size.

        Raises:
            LayoutError: they are not.
            StoreError: they are not here.
        """
        prefix = self._bytes(weights, uploads, min(weights.size, MAX_PREFIX))
        check_header(prefix, weights.size, layout, "plain")

    def read_blob(self, blob: Manifest, offset: int, length: int) -> bytes:
        """Read a part of a blob that is kept.

        Raises:
            StoreError: it is not here.
        """
        source = self._store.open_blob(blob.digest)
        if source is None:
            raise StoreError(f"blob {blob.digest[:12]} is not here any more")
        return bytes(source.read(offset, min(length, max(0, blob.size - offset))))

    def _bytes(self, blob: Manifest, uploads: Sequence[Upload], length: int) -> bytes:
        for upload in uploads:
            if upload.manifest == blob:
                return upload.read(0, length)
        return self.read_blob(blob, 0, length)
