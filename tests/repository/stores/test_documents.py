"""Documents of other programs: stored once, changed, deleted with their file, and only then."""

import pytest

from fedbus.errors import StoreError
from fedbus.wire.blobs import BlobRef, blob_ref_of
from fedbus_repository.stores import document_decisions
from fedbus_repository.stores.base import Store
from tests.repository.conftest import Clock, Open
from tests.repository.harness import AT, put

FIRST, SECOND = b"what another program wrote", b"and what it wrote later"


def test_a_document_is_stored_once(store: Store, clock: Clock) -> None:
    """Under its kind and name; a second one of this name is refused."""
    assert store.document("strategy", "fedx") is None
    assert store.create_document("strategy", "fedx", b'{"a": 1}') is True
    clock.wait(1)
    assert store.create_document("strategy", "fedx", b'{"a": 2}') is False
    assert store.create_document("collector", "fedx", b'{"a": 2}') is True
    found = store.document("strategy", "fedx")
    assert found is not None
    assert (found.content, found.blob, found.created, found.changed) == (b'{"a": 1}', None, AT, AT)


def test_a_document_is_changed_and_deleted(store: Store, clock: Clock) -> None:
    """One that is not there is not."""
    assert store.change_document("strategy", "fedx", b"{}") is False
    assert store.delete_document("strategy", "fedx") is False
    store.create_document("strategy", "fedx", b'{"a": 1}')
    clock.wait(1)
    assert store.change_document("strategy", "fedx", b'{"a": 2}') is True
    found = store.document("strategy", "fedx")
    assert found is not None
    assert (found.content, found.created) == (b'{"a": 2}', AT)
    assert found.changed is not None
    assert found.changed > AT
    assert store.delete_document("strategy", "fedx") is True
    assert store.documents("strategy", 10) == []


def test_documents_are_listed_by_name(store: Store) -> None:
    """Of one kind, of names with a prefix: no character in it means others."""
    for name in ("b/2", "a/1", "b/10", "b_/1", "bb/1", "%/1"):
        store.create_document("model-draft", name, b"{}")
    store.create_document("collector", "b/3", b"{}")

    def names(limit: int, prefix: str = "", after: str = "") -> list[str]:
        return [each.name for each in store.documents("model-draft", limit, prefix, after)]

    assert names(10) == ["%/1", "a/1", "b/10", "b/2", "b_/1", "bb/1"]
    assert names(2) == ["%/1", "a/1"]
    assert names(10, after="b/10") == ["b/2", "b_/1", "bb/1"]
    assert names(10, "b/", "b/10") == ["b/2"]
    assert names(10, "b/") == ["b/10", "b/2"]
    assert names(10, "b_") == ["b_/1"]
    assert names(10, "%") == ["%/1"]
    assert names(10, "[ab]*") == []


def test_a_file_is_deleted_when_nothing_references_it(store: Store, reopen: Open) -> None:
    """Not while another document has it, and not at a restart."""
    first, second = put(store, FIRST), put(store, SECOND)
    assert store.attach_file("strategy", "fedx", first) is False
    for name in ("fedx", "fedy"):
        store.create_document("strategy", name, b"{}")
        assert store.attach_file("strategy", name, first) is True
    assert store.attach_file("strategy", "fedx", second) is True
    store = reopen()
    assert store.holds(first)
    assert store.holds(second)
    assert store.delete_document("strategy", "fedy") is True
    assert not store.holds(first)
    store.attach_file("strategy", "fedx", second)
    assert store.holds(second)
    found = store.document("strategy", "fedx")
    assert found is not None
    assert found.blob == second
    store.delete_unreferenced((second,))
    assert store.holds(second)


def test_a_file_that_is_not_kept_is_refused(store: Store) -> None:
    """The document keeps the one it has."""
    store.create_document("strategy", "fedx", b"{}")
    kept = put(store, FIRST)
    store.attach_file("strategy", "fedx", kept)
    with pytest.raises(StoreError, match="the file of strategy fedx is missing"):
        store.attach_file("strategy", "fedx", blob_ref_of(SECOND))
    with pytest.raises(StoreError, match="the file of strategy fedx is missing"):
        store.attach_file("strategy", "fedx", BlobRef(digest=kept.digest, size=kept.size + 1))
    found = store.document("strategy", "fedx")
    assert found is not None
    assert found.blob == kept


def test_the_number_of_documents_is_limited(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each kind; a deleted one makes room."""
    monkeypatch.setattr(document_decisions, "MAX_DOCUMENTS", 2)
    assert store.create_document("strategy", "a", b"{}") is True
    assert store.create_document("strategy", "b", b"{}") is True
    assert store.create_document("strategy", "c", b"{}") is None
    assert store.create_document("collector", "c", b"{}") is True
    store.delete_document("strategy", "a")
    assert store.create_document("strategy", "c", b"{}") is True
