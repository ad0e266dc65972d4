"""What a model's card says."""

import pytest

from fedbus.errors import StoreError, TransferError
from fedbus.wire import codec
from fedbus.wire.cards import files_of
from fedbus.wire.states import ModelCard, ModelNeeds
from fedbus.wire.values import manifest_of
from fedbus_repository import cards
from fedbus_repository.cards import Cards
from fedbus_repository.store import Store
from tests.repository.stand import FILE, LAYOUT, card, plain, put


def test_a_layout_is_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit asks for it; a store of many models does not fill the memory."""
    monkeypatch.setattr(cards, "REMEMBERED", 1)
    desk = Cards(store)
    one, two = put(store, card()), put(store, card(model="faces"))
    assert desk.layout(one) == LAYOUT
    assert desk.layout(one) is desk.layout(one)
    assert desk.layout(two) == LAYOUT


def test_a_card_that_is_gone_is_the_stores_fault(store: Store) -> None:
    """Nobody else can mend it."""
    with pytest.raises(StoreError, match="is not here any more"):
        Cards(store).layout(manifest_of(card()))


def test_a_damaged_card_is_found_out(store: Store) -> None:
    """A disk may lie; a digest does not."""
    upload = store.upload(manifest_of(card()))
    upload.write(0, card().replace(b"32", b"64", 1))
    with pytest.raises(TransferError, match="holds something else"):
        Cards(store).read(upload.manifest, (upload,))
    upload.discard()


def test_files_are_named_once_each() -> None:
    """Two frameworks may share one."""
    stated = plain(manifest_of(FILE))
    read = codec.from_json(
        ModelCard, card(structures={"a": {"blob": stated}, "b": {"blob": stated}, "c": {}})
    )
    assert files_of(read) == (manifest_of(FILE),)


def test_a_card_says_which_agents_can_train_it(store: Store) -> None:
    """Its frameworks and its input; of an input that no format needs, and of a lost card, less."""
    desk, form = Cards(store), {"data_types": {"image": {"size": [8, 8, 1]}}}
    structures: dict[str, object] = {"torch": {}, "keras": {}}
    told = desk.needs(put(store, card(structures=structures, input=form)))
    assert told == ModelNeeds(structures=("keras", "torch"), input=form)
    for large in ({"x": "y" * 4096}, {f"k{number}": 1 for number in range(33)}):
        told = desk.needs(put(store, card(structures=structures, input=large)))
        assert told == ModelNeeds(structures=("keras", "torch"))
    assert desk.needs(manifest_of(b"gone")) is None
