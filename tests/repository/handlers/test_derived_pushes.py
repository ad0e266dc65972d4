"""Pushes of versions that key holders make of encrypted ones: their blobs and who sent them."""

from dataclasses import replace
from typing import Any

import pytest

from fedbus.wire.blobs import EncryptedVersion, blob_ref_of
from fedbus.wire.messages import ModelPushed, PushModel, RequestRefused, ShowModel
from fedbus.wire.messages.model_requests import Derivation
from fedbus_repository.core import RepositoryCore
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.protection_rules import encryption_of
from fedbus_repository.stores.records import HistoryEntry, Version
from tests.repository.harness import (
    JOB,
    MODEL,
    REPOSITORY,
    USER,
    Harness,
    begin,
    load,
    push_of,
    put,
    weights,
)
from tests.repository.protected_jobs import (
    ENCRYPTED,
    ENCRYPTION,
    ENCRYPTION_KEY,
    OTHER_ENCRYPTION_KEY,
    ciphertexts,
    protected_plan,
    protected_record,
)

BY = f"ana ({USER})"


@pytest.fixture
def source(store: Store) -> Version:
    """An encrypted version, the newest of its model; no job trains it."""
    job = begin(store, strategy=ENCRYPTED)
    plan = protected_plan(job)
    assert store.store_plan(2**52, plan) == plan
    content = ciphertexts(encryption_of(ENCRYPTION, job.base).anchor_weights)
    done = store.commit(protected_record(plan, load(store).latest), put(store, content))
    assert isinstance(done, HistoryEntry)
    store.end_job(2**52, JOB, "finished", "")
    return done.version


def release(source: Version, content: bytes) -> PushModel:
    """A released version."""
    derived = Derivation(kind="release", version=source.version, by="ana")
    return push_of(source.spec, blob_ref_of(content), derived=derived)


def rotation(source: Version, content: bytes) -> PushModel:
    """A version with another key."""
    derived = Derivation(kind="rotation", version=source.version, by="ana")
    encryption = encryption_with_other_key(source)
    return push_of(source.spec, blob_ref_of(content), derived=derived, encryption=encryption)


def encryption_with_other_key(source: Version) -> EncryptedVersion:
    """How the rotated version is encrypted."""
    assert source.encryption is not None
    return replace(source.encryption, key=OTHER_ENCRYPTION_KEY)


def rotated(source: Version, **changes: Any) -> bytes:  # noqa: ANN401 - fields of a header
    """The blob of the rotated version."""
    anchor = encryption_with_other_key(source).anchor_weights
    return ciphertexts(anchor, **({"key": OTHER_ENCRYPTION_KEY} | changes))


def test_a_release_is_stored_with_who_made_it(harness: Harness, source: Version) -> None:
    """The node that sent it, as the broker knows it, beside what it says of its user."""
    harness.serve(weights(2.0))
    [pushed] = harness.receive(USER, release(source, weights(2.0)))
    assert isinstance(pushed, ModelPushed)
    assert (pushed.version.version, pushed.version.encryption) == (3, None)
    [shown] = harness.receive(USER, ShowModel(model=MODEL))
    derived = Derivation(kind="release", version=2, by=BY)
    assert [each.derived for each in shown.history] == [derived, None, None]
    assert [each.why for each in shown.kept] == ["pushed", "newest", "pushed"]


def test_a_rotation_is_stored_by_its_header(harness: Harness, source: Version) -> None:
    """The repository cannot read its numbers."""
    content = rotated(source)
    harness.serve(content)
    message = rotation(source, content)
    [pushed] = harness.receive(USER, message)
    assert isinstance(pushed, ModelPushed)
    assert pushed.version.encryption == message.encryption
    assert harness.latest[-1].encryption == message.encryption
    assert harness.receive(USER, message) == [pushed]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"key": ENCRYPTION_KEY}, "another scheme, key or anchor than the push says"),
        ({"anchor": "0" * 64}, "another scheme, key or anchor than the push says"),
        ({"layout": "0" * 64}, "an encrypted blob of layout 000000000000, where the model's is "),
    ],
)
def test_a_rotation_with_another_header_is_refused(
    harness: Harness, source: Version, changes: dict[str, Any], said: str
) -> None:
    """No agent could read it."""
    content = rotated(source, **changes)
    harness.serve(content)
    [refused] = harness.receive(USER, rotation(source, content))
    assert isinstance(refused, RequestRefused)
    assert refused.reason.startswith("the encrypted weights: ")
    assert said in refused.reason


def test_released_weights_are_finite_and_of_the_layout(harness: Harness, source: Version) -> None:
    """As those of any push."""
    harness.serve(weights(float("nan")))
    [refused] = harness.receive(USER, release(source, weights(float("nan"))))
    assert isinstance(refused, RequestRefused)
    assert "expected finite numbers, got nan" in refused.reason


def test_a_rotation_that_is_too_large_is_not_fetched(harness: Harness, source: Version) -> None:
    """The bound is that of the largest parameters."""
    message = rotation(source, rotated(source))
    large = replace(message, weights=replace(message.weights, size=2**30))
    [refused] = harness.receive(USER, large)
    assert isinstance(refused, RequestRefused)
    most = 16 * 2**20 + 9 * 256
    said = f"the weights: expected at most {most} bytes of ciphertexts, got {2**30}"
    assert refused.reason == said
    assert not harness.fetching


def test_a_repository_with_the_old_key_refuses_a_rotation(store: Store, source: Version) -> None:
    """It must have the new public key first: then no job can go on with the old one by mistake."""
    harness = Harness(RepositoryCore(REPOSITORY, store, encryption_key=ENCRYPTION_KEY))
    harness.connect()
    [refused] = harness.receive(USER, rotation(source, rotated(source)))
    assert isinstance(refused, RequestRefused)
    assert refused.reason == (
        "the weights: they are encrypted with the key 2b2b2b2b2b2b…, and this repository has "
        "1a1a1a1a1a1a…; start it with the public key of the new versions (FEDBUS_ENCRYPTION_KEY)"
    )
