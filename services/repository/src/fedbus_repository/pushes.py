"""A model on its way in from a user: its card, then what that names, then one insert.

The class decides and is pure; the functions at the end run in a thread.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from fedbus.actions import Action, Note, Send
from fedbus.errors import LayoutError, StoreError, TrainingError, TransferError, WireError
from fedbus.layout import Layout
from fedbus.weights import MAX_PREFIX
from fedbus.wire.cards import files_of
from fedbus.wire.limits import MAX_CARD_BYTES
from fedbus.wire.messages import ModelPushed, PushModel, RequestRefused
from fedbus.wire.states import ModelCard
from fedbus.wire.values import Manifest
from fedbus_repository.cards import Cards
from fedbus_repository.catalog import Catalog
from fedbus_repository.commits import discard, keep, reserve
from fedbus_repository.contents import check_claims, check_finite, check_structures
from fedbus_repository.errands import Bring, Call, Errand, Errands, Steps, Superseded
from fedbus_repository.keys import RequestRun
from fedbus_repository.store import Refused, Store, Upload, Version


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a card asks for: the files it names, and of all its blobs those that are not here."""

    card: ModelCard
    layout: Layout
    files: Sequence[Manifest]
    uploads: Sequence[Upload]


class Pushes:
    """The desk for users who bring a model."""

    def __init__(self, store: Store, errands: Errands, catalog: Catalog, cards: Cards) -> None:
        self._store, self._errands, self._catalog, self._cards = store, errands, catalog, cards

    def push(self, sender: str, message: PushModel) -> Iterator[Action]:
        """Store a version of a model, or say why not; the same as the latest is the latest."""
        key = RequestRun.of(message, sender, message.model)
        yield from self._errands.start(key, message, self._push(sender, message))

    def _push(self, sender: str, message: PushModel) -> Errand:
        brought: list[Upload] = []
        answer: Version | Refused
        try:
            answer = yield from self._bring(message, brought)
        except Superseded:
            yield Call(partial(discard, brought))
            return ()
        except (StoreError, TransferError) as error:
            answer = Refused(str(error))
        if brought:
            yield Call(partial(discard, brought))
        if isinstance(answer, Refused):
            refused = RequestRefused(about=message.model, reason=answer.reason)
            facts = {"model": message.model, "reason": answer.reason}
            return Note("model_refused", facts), Send(sender, refused)
        pushed = ModelPushed(version=self._catalog.ref(answer))
        return Send(sender, pushed), *self._catalog.made(answer)

    def _bring(self, message: PushModel, brought: list[Upload]) -> Steps[Version | Refused]:
        store, cards = self._store, self._cards
        answer: Version | Refused | Sequence[Upload] = yield Call(partial(look, store, message))
        if isinstance(answer, Version | Refused):
            return answer
        brought += answer
        yield Bring(answer)
        wanted: Wanted | Refused = yield Call(partial(open_card, store, cards, message, answer))
        if isinstance(wanted, Refused):
            return wanted
        brought += wanted.uploads
        yield Bring(wanted.uploads)
        pushed: Version | Refused = yield Call(
            partial(finish, store, cards, message, wanted, brought)
        )
        return pushed


# ── in a thread ───────────────────────────────────────────────────────────────────────────────────


def look(store: Store, message: PushModel) -> Version | Refused | Sequence[Upload]:
    """Answer a push at once, or make room for its card."""
    answer = store.offered(message.model, message.card, message.weights, reset=message.reset)
    if answer is not None:
        return answer
    if message.card.size > MAX_CARD_BYTES:
        return Refused(f"a card of {message.card.size} bytes, at most {MAX_CARD_BYTES}")
    return reserve(store, (message.card,))


def open_card(
    store: Store, cards: Cards, message: PushModel, uploads: Sequence[Upload]
) -> Wanted | Refused:
    """Read the card, and make room for what it names."""
    try:
        card = cards.read(message.card, uploads, pushed=True)
        check_claims(card)
        layout, files = Layout.read(card.layout), files_of(card)
    except (LayoutError, TransferError, WireError) as error:
        return Refused(f"the model card: {error}")
    if card.model != message.model:
        return Refused(f"the model card is of model {card.model!r}, not {message.model!r}")
    if not layout.size < message.weights.size <= layout.size + MAX_PREFIX:
        return Refused(
            f"the weights have {message.weights.size} bytes;"
            f" the card's layout makes {layout.size}, and a header"
        )
    return Wanted(card, layout, files, reserve(store, (message.weights, *files)))


def finish(
    store: Store, cards: Cards, message: PushModel, wanted: Wanted, uploads: Sequence[Upload]
) -> Version | Refused:
    """Verify and keep all blobs, and make the version."""
    answer: Version | Refused
    try:
        cards.check(message.weights, wanted.layout, uploads)
        keep(uploads)
        check_finite(message.weights, wanted.layout, cards.read_blob)
        check_structures(wanted.card, wanted.layout, cards.read_blob)
        answer = store.push(
            message.model, message.card, message.weights, wanted.files, reset=message.reset
        )
    except (LayoutError, TrainingError, TransferError) as error:
        answer = Refused(str(error))
    if isinstance(answer, Refused):
        store.release((message.card, message.weights, *wanted.files))
    return answer
