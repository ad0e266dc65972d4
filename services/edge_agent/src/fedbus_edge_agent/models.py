"""The models an agent holds: cards and files by digest, and the last weights it was given. Pure.

Of a card's files only those are fetched that the structure names which will be used.
"""

from collections import OrderedDict
from collections.abc import Callable

from fedbus.errors import TransferError
from fedbus.layout import Layout
from fedbus.spool import Spool
from fedbus.weights import Blob
from fedbus.wire import codec
from fedbus.wire.cards import files_of, named_files
from fedbus.wire.limits import MAX_CARD_BYTES
from fedbus.wire.states import ModelCard
from fedbus.wire.values import Manifest, ModelRef
from fedbus_edge_agent.work import Model

MAX_MODELS = 8
MAX_GATHERED = 64
"""Models that are held while they are gathered; of those that were worked on, `MAX_MODELS` stay."""

Choose = Callable[[ModelCard, str | None], str]
"""Names the structure of a card that a task will use; PluginError: none can be used here."""


class Models:
    """What need not be fetched again. Without `choose`, all files of a card are used."""

    def __init__(self, choose: Choose | None = None) -> None:
        self._choose = choose
        self._cards: OrderedDict[str, Model] = OrderedDict()  # by digest, with the files that came
        self._weights: OrderedDict[str, tuple[str, Spool]] = OrderedDict()  # by model: digest, blob

    def held(self) -> dict[str, int]:
        """Name the models whose card is here, for the agent's facts, with the bytes of files."""
        return {
            model.card.model: sum(len(data) for data in model.files.values())
            for model in self._cards.values()
        }

    def card(self, ref: ModelRef) -> ModelCard | None:
        """Return a version's card, once it is here."""
        model = self._cards.get(ref.card.digest)
        return None if model is None else model.card

    def missing(self, ref: ModelRef, wanted: str | None = None) -> list[Manifest]:
        """List the blobs to fetch next; a card's files are known only once the card is here.

        Raises:
            FedbusError: the card has nothing that can be used here; `wanted` is the job's choice.
        """
        found = [] if self.holds(ref) else [ref.weights]
        model = self._cards.get(ref.card.digest)
        if model is not None:
            files = self._files_of(model.card, wanted)
            return found + [manifest for manifest in files if manifest.digest not in model.files]
        if ref.card.size > MAX_CARD_BYTES:
            raise TransferError(f"a card of {ref.card.size} bytes, at most {MAX_CARD_BYTES}")
        return [*found, ref.card]

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
            with spool.read(0, manifest.size) as content:
                data = bytes(content)
        finally:
            spool.close()
        if manifest == ref.card:
            self._take_card(ref, codec.from_json(ModelCard, data))
        elif ref.card.digest in self._cards:
            self._cards[ref.card.digest].files[manifest.digest] = data

    def model(self, ref: ModelRef) -> Model:
        """Return a model of which nothing is missing, to be worked on."""
        self._cards.move_to_end(ref.card.digest)
        self._keep(MAX_MODELS)
        return self._cards[ref.card.digest]

    def weights(self, ref: ModelRef) -> Blob:
        """Return a lease on a version's weights: they stay unchanged, whatever arrives meanwhile.

        Raises:
            StoreError: they cannot be read, because the disk was full.
        """
        spool = self._weights[ref.model][1]
        return spool.read(0, spool.size)

    def forget_weights(self, ref: ModelRef) -> None:
        """Let go of weights that turned out to be damaged."""
        if self.holds(ref):
            self._forget(ref.model)

    def holds(self, ref: ModelRef) -> bool:
        """Tell whether a version's weights are the last that came of its model."""
        return self._weights.get(ref.model, ("", None))[0] == ref.weights.digest

    def _forget(self, model: str) -> None:
        if model in self._weights:
            self._weights.pop(model)[1].close()

    def _files_of(self, card: ModelCard, wanted: str | None) -> tuple[Manifest, ...]:
        if self._choose is None:
            return files_of(card)
        name = self._choose(card, wanted)
        return named_files([(name, card.structures[name])])

    def _take_card(self, ref: ModelRef, card: ModelCard) -> None:
        """Refuse a card now that would be refused later, when it is in the way."""
        files_of(card)
        self._cards[ref.card.digest] = Model(card, Layout.read(card.layout), {})
        self._keep(MAX_GATHERED)

    def _keep(self, most: int) -> None:
        while len(self._cards) > most:
            self._cards.popitem(last=False)
