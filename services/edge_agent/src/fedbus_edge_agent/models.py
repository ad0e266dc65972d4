"""The models an agent holds: cards and files by digest, and the last weights it was given. Pure."""

import hashlib
from collections import OrderedDict

from fedbus.errors import TransferError
from fedbus.layout import Layout
from fedbus.spool import Spool
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
        """Name the models whose structure is here, for the agent's facts; the value is its bytes."""
        return {
            model.card.model: sum(len(data) for data in model.files.values())
            for model in self._models.values()
        }

    def missing(self, ref: ModelRef) -> list[Manifest]:
        """List the blobs to fetch next; a card's files are known only once the card is here."""
        wanted = [] if self.weights(ref) is not None else [ref.weights]
        if ref.card.digest not in self._models:
            card = self._cards.get(ref.card.digest)
            wanted += [ref.card] if card is None else self._files_missing(card)
        return wanted

    def put(self, ref: ModelRef, manifest: Manifest, spool: Spool) -> None:
        """Take a blob that was fetched for a version.

        Raises:
            FedbusError: its bytes are not those of its digest, or it is a card that cannot be read.
        """
        if manifest == ref.weights:  # its digest is checked by the worker: it may be large
            old = self._weights.pop(ref.model, None)
            if old is not None:
                old[1].close()
            self._weights[ref.model] = manifest.digest, spool
            while len(self._weights) > MAX_MODELS:
                self._weights.popitem(last=False)[1][1].close()
            return
        data = bytes(spool.read(0, manifest.size))
        spool.close()
        if hashlib.sha256(data).hexdigest() != manifest.digest:
            raise TransferError(f"{manifest.digest[:12]}: other bytes than its digest names")
        if manifest == ref.card:
            self._cards[manifest.digest] = codec.from_json(ModelCard, data)
        else:
            self._files[manifest.digest] = data
        self._complete(ref)

    def model(self, ref: ModelRef) -> Model:
        """Return a model of which nothing is missing."""
        self._models.move_to_end(ref.card.digest)
        return self._models[ref.card.digest]

    def weights(self, ref: ModelRef) -> Spool | None:
        """Return a version's weights, if they are the last that came of its model."""
        digest, spool = self._weights.get(ref.model, ("", None))
        return spool if digest == ref.weights.digest else None

    def forget_weights(self, ref: ModelRef) -> None:
        """Let go of weights that turned out to be damaged."""
        if self.weights(ref) is not None:
            self._weights.pop(ref.model)[1].close()

    def _files_missing(self, card: ModelCard) -> list[Manifest]:
        wanted = blobs_of(card)
        for manifest in wanted:
            if manifest.size > MAX_FILE:
                raise TransferError(f"a model file of {manifest.size} bytes, at most {MAX_FILE}")
        return [manifest for manifest in wanted if manifest.digest not in self._files]

    def _complete(self, ref: ModelRef) -> None:
        card = self._cards.get(ref.card.digest)
        if card is None or self._files_missing(card):
            return
        files = {manifest.digest: self._files.pop(manifest.digest) for manifest in blobs_of(card)}
        self._models[ref.card.digest] = Model(card, Layout.read(card.layout), files)
        del self._cards[ref.card.digest]
        while len(self._models) > MAX_MODELS:
            self._models.popitem(last=False)
