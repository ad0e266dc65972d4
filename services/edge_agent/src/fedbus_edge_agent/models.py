"""The models an agent holds: cards and files by digest, and the last weights it was given. Pure."""

from collections import OrderedDict

from fedbus.errors import TransferError
from fedbus.layout import Layout
from fedbus.spool import Spool
from fedbus.weights import Blob
from fedbus.wire import codec
from fedbus.wire.states import ModelCard
from fedbus.wire.values import Manifest, ModelRef
from fedbus_edge_agent.work import Model, blobs_of

MAX_CARD = 4 * 2**20
MAX_FILE = 256 * 2**20
MAX_MODELS = 8


class Models:
    """What need not be fetched again."""

    def __init__(self) -> None:
        self._models: OrderedDict[str, Model] = OrderedDict()  # by the card's digest
        self._cards: dict[str, ModelCard] = {}
        self._files: dict[str, bytes] = {}
        self._weights: OrderedDict[str, tuple[str, Spool]] = OrderedDict()  # by model: digest, blob

    def held(self) -> dict[str, int]:
        """Name the models whose structure is here, for the agent's facts, with its bytes."""
        return {
            model.card.model: sum(len(data) for data in model.files.values())
            for model in self._models.values()
        }

    def missing(self, ref: ModelRef) -> list[Manifest]:
        """List the blobs to fetch next; a card's files are known only once the card is here."""
        wanted = [] if self._holds(ref) else [ref.weights]
        if ref.card.digest not in self._models:
            card = self._cards.get(ref.card.digest)
            wanted += [ref.card] if card is None else self._files_missing(card)
        return wanted

    def put(self, ref: ModelRef, manifest: Manifest, spool: Spool) -> None:
        """Take a blob that was fetched for a version.

        Raises:
            FedbusError: its bytes are not those of its digest, or it is a card that cannot be used.
        """
        if manifest == ref.weights:  # its digest is checked by the worker: it may be large
            self._forget(ref.model)
            self._weights[ref.model] = manifest.digest, spool
            while len(self._weights) > MAX_MODELS:
                self._forget(next(iter(self._weights)))
            return
        try:
            if spool.digest() != manifest.digest:
                raise TransferError(f"{manifest.digest[:12]}: other bytes than its digest names")
            data = bytes(spool.read(0, manifest.size))
        finally:
            spool.close()
        if manifest == ref.card:
            self._cards[manifest.digest] = _usable(codec.from_json(ModelCard, data))
        else:
            self._files[manifest.digest] = data
        self._complete(ref)

    def model(self, ref: ModelRef) -> Model:
        """Return a model of which nothing is missing."""
        self._models.move_to_end(ref.card.digest)
        return self._models[ref.card.digest]

    def weights(self, ref: ModelRef) -> Blob:
        """Return a version's weights; they stay as they are, whatever comes meanwhile.

        Raises:
            StoreError: they cannot be read, for the disk was full.
        """
        spool = self._weights[ref.model][1]
        return memoryview(spool.read(0, spool.size))

    def forget_weights(self, ref: ModelRef) -> None:
        """Let go of weights that turned out to be damaged."""
        if self._holds(ref):
            self._forget(ref.model)

    def _holds(self, ref: ModelRef) -> bool:
        """Tell whether a version's weights are the last that came of its model."""
        return self._weights.get(ref.model, ("", None))[0] == ref.weights.digest

    def _forget(self, model: str) -> None:
        if model in self._weights:
            self._weights.pop(model)[1].close()

    def _files_missing(self, card: ModelCard) -> list[Manifest]:
        return [manifest for manifest in blobs_of(card) if manifest.digest not in self._files]

    def _complete(self, ref: ModelRef) -> None:
        card = self._cards.get(ref.card.digest)
        if card is None or self._files_missing(card):
            return
        files = {manifest.digest: self._files.pop(manifest.digest) for manifest in blobs_of(card)}
        self._models[ref.card.digest] = Model(card, Layout.read(card.layout), files)
        del self._cards[ref.card.digest]
        while len(self._models) > MAX_MODELS:
            self._models.popitem(last=False)


def _usable(card: ModelCard) -> ModelCard:
    """Refuse a card now that would be refused later, when it is in the way.

    Raises:
        FedbusError: its layout is none, or a file it names is none that we would fetch.
    """
    Layout.read(card.layout)
    for manifest in blobs_of(card):
        if manifest.size > MAX_FILE:
            raise TransferError(f"a model file of {manifest.size} bytes, at most {MAX_FILE}")
    return card
