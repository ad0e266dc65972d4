"""Model specs, read and checked."""

import pytest

from fedbus.errors import StoreError, TransferError
from fedbus.wire import codec
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.documents import ModelNeeds, ModelSpec
from fedbus.wire.spec_files import files_of
from fedbus_repository.handlers import model_specs
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.stores.base import Store
from tests.repository.harness import FILE, LAYOUT, plain, put, spec


def test_a_layout_is_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit asks for it; a store of many models does not fill the memory."""
    monkeypatch.setattr(model_specs, "MAX_CACHED_LAYOUTS", 1)
    desk = SpecReader(store)
    one, two = put(store, spec()), put(store, spec(model="faces"))
    assert desk.layout(one) == LAYOUT
    assert desk.layout(one) is desk.layout(one)
    assert desk.layout(two) == LAYOUT


def test_a_spec_that_is_gone_is_the_stores_fault(store: Store) -> None:
    """No sender can correct it."""
    with pytest.raises(StoreError, match="is missing from the store"):
        SpecReader(store).layout(blob_ref_of(spec()))


def test_a_damaged_spec_is_found_out(store: Store) -> None:
    """A disk may lie; a digest does not."""
    upload = store.upload(blob_ref_of(spec()))
    upload.write(0, spec().replace(b"32", b"64", 1))
    with pytest.raises(TransferError, match="expected a spec of digest"):
        SpecReader(store).read(upload.blob_ref, (upload,))
    upload.discard()


def test_files_are_named_once_each() -> None:
    """Two frameworks may share one."""
    stated = plain(blob_ref_of(FILE))
    read = codec.from_json(
        ModelSpec, spec(architectures={"a": {"blob": stated}, "b": {"blob": stated}, "c": {}})
    )
    assert files_of(read) == (blob_ref_of(FILE),)


def test_a_spec_says_which_agents_can_train_it(store: Store) -> None:
    """Its frameworks and its input; of an input that no format needs, and of a lost spec, less."""
    desk, form = SpecReader(store), {"data_types": {"image": {"size": [8, 8, 1]}}}
    architectures: dict[str, object] = {"torch": {}, "keras": {}}
    told = desk.needs(put(store, spec(architectures=architectures, input=form)))
    assert told == ModelNeeds(architectures=("keras", "torch"), input=form)
    for large in ({"x": "y" * 4096}, {f"k{number}": 1 for number in range(33)}):
        told = desk.needs(put(store, spec(architectures=architectures, input=large)))
        assert told == ModelNeeds(architectures=("keras", "torch"))
    assert desk.needs(blob_ref_of(b"gone")) is None
