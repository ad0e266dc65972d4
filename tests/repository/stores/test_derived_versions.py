"""Versions that key holders make of encrypted ones: released, or encrypted with a new key."""

from dataclasses import replace

import pytest

from fedbus.wire.blobs import EncryptedVersion, blob_ref_of
from fedbus.wire.messages import PushModel
from fedbus.wire.messages.model_requests import Derivation
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.derived_versions import derivation_fault, signed
from fedbus_repository.stores.ledger_records import ModelPrivacy, RecordedNoise
from fedbus_repository.stores.records import HistoryEntry, StoredJob, StoreRefusal, Version
from tests.repository.harness import (
    FEDAVG,
    JOB,
    MODEL,
    PRIVATE,
    TERMS,
    begin,
    entry_for,
    load,
    push,
    push_of,
    put,
    spec,
    weights,
)
from tests.repository.protected_jobs import (
    ENCRYPTED,
    ENCRYPTION,
    OTHER_ENCRYPTION_KEY,
    protected_plan,
    protected_record,
)

V2 = "version 2 of model 'digits'"
NOT_NEWEST = (
    f"{V2} is not the newest one, 5, which would be replaced; give --reset if that is meant"
)
OLDER = (
    f"{V2} is older than version 3, whose weights were pushed: what jobs have spent on it would be "
    "forgotten; release it under another name, with `fedbus models pull --key` and `fedbus models "
    "push --name`"
)
ENCRYPTION_OF_2 = EncryptedVersion(
    scheme="bfv",
    key=ENCRYPTION.key,
    parameters=ENCRYPTION.parameters,
    anchor=1,
    anchor_weights=blob_ref_of(weights(0)),
)
SOURCE = Version(
    model=MODEL,
    version=2,
    parent=1,
    weights=blob_ref_of(b"ciphertexts"),
    spec=blob_ref_of(spec()),
    job=JOB,
    round=1,
    encryption=ENCRYPTION_OF_2,
)
RELEASE = push_of(
    SOURCE.spec,
    blob_ref_of(weights(3)),
    derived=Derivation(kind="release", version=2, by="ana"),
)
ROTATED = replace(ENCRYPTION_OF_2, key=OTHER_ENCRYPTION_KEY)
ROTATION = push_of(
    SOURCE.spec,
    blob_ref_of(b"other ciphertexts"),
    derived=Derivation(kind="rotation", version=2, by="ana"),
    encryption=ROTATED,
)


def test_a_derivation_names_the_node_that_sent_it() -> None:
    """The broker knows its login; who sat there is what the node says."""
    assert signed(None, "user.ana") is None
    derived = Derivation(kind="release", version=2, by="ana@desk")
    assert signed(derived, "user.cli") == replace(derived, by="ana@desk (user.cli)")
    assert signed(replace(derived, by=""), "user.cli") == replace(derived, by="user.cli")


@pytest.mark.parametrize(
    ("message", "latest", "source", "pushed", "fault"),
    [
        (RELEASE, SOURCE, SOURCE, 1, None),
        (ROTATION, SOURCE, SOURCE, 1, None),
        (push_of(SOURCE.spec, SOURCE.weights), SOURCE, None, 1, None),
        (
            push_of(SOURCE.spec, SOURCE.weights, encryption=ROTATED),
            SOURCE,
            None,
            1,
            "only the rotation of a version has ciphertexts",
        ),
        (RELEASE, SOURCE, None, 1, "model 'digits' has no version 2"),
        (RELEASE, None, None, 0, "model 'digits' has no version 2"),
        (
            RELEASE,
            replace(SOURCE, encryption=None),
            replace(SOURCE, encryption=None),
            1,
            "version 2 of model 'digits' is not encrypted, so it needs no release",
        ),
        (
            RELEASE,
            replace(SOURCE, version=5),
            SOURCE,
            1,
            NOT_NEWEST,
        ),
        (replace(RELEASE, reset=True), replace(SOURCE, version=5), SOURCE, 1, None),
        (
            replace(RELEASE, reset=True),
            replace(SOURCE, version=5),
            SOURCE,
            3,
            OLDER,
        ),
        (
            replace(RELEASE, spec=blob_ref_of(b"another")),
            SOURCE,
            SOURCE,
            1,
            "version 2 of model 'digits' has another spec",
        ),
        (
            replace(RELEASE, encryption=ROTATED),
            SOURCE,
            SOURCE,
            1,
            "a release of version 2 of model 'digits' has plain weights, not ciphertexts",
        ),
        (
            replace(ROTATION, encryption=None),
            SOURCE,
            SOURCE,
            1,
            "a rotation of version 2 of model 'digits' has ciphertexts, not plain weights",
        ),
        (
            replace(ROTATION, encryption=replace(ROTATED, anchor=2)),
            SOURCE,
            SOURCE,
            1,
            "a rotation of version 2 of model 'digits' keeps its anchor, version 1",
        ),
        (
            replace(ROTATION, encryption=ENCRYPTION_OF_2),
            SOURCE,
            SOURCE,
            1,
            "version 2 of model 'digits' is encrypted with this key already",
        ),
    ],
)
def test_a_version_is_derived_from_the_newest_encrypted_one(
    message: PushModel,
    latest: Version | None,
    source: Version | None,
    pushed: int,
    fault: str | None,
) -> None:
    """Each refusal says what is wrong."""
    assert derivation_fault(message, latest, source, pushed) == fault


def commit_encrypted(store: Store, *, private: bool = False) -> Version:
    """Plan and commit the next round of an encrypted job, evaluate it, and end the job."""
    found = load(store)
    plan = protected_plan(found, max_examples=1)
    assert store.store_plan(2**52, plan) == plan
    record = protected_record(plan, found.latest)
    if private:
        noise = store.record_noise(entry_for(plan))
        assert isinstance(noise, RecordedNoise)
        strategy = replace(PRIVATE, encryption=ENCRYPTION)
        record = replace(record, strategy=strategy, privacy=noise.spent)
    done = store.commit(record, put(store, b"ciphertexts of round %d" % plan.round))
    assert isinstance(done, HistoryEntry)
    evaluated = store.store_evaluation(2**52, JOB, plan.round, {"accuracy": 0.75})
    store.end_job(2**52, JOB, "finished", "")
    assert isinstance(evaluated, Version)
    return evaluated


def derived_push(store: Store, message: PushModel, content: bytes) -> Version:
    """Push a version that a key holder made."""
    put(store, content)
    made = store.push(message, ())
    assert isinstance(made, Version)
    return made


def test_a_released_version_is_trained_and_served_as_another_plain_one(store: Store) -> None:
    """It has the metrics of its source, and is the anchor of the next encrypted versions."""
    begin(store, strategy=ENCRYPTED)
    source = commit_encrypted(store)
    assert isinstance(store.store_job(0, "b", MODEL, b"{}", strategy=FEDAVG), StoreRefusal)
    message = push_of(
        source.spec,
        blob_ref_of(weights(3)),
        derived=Derivation(kind="release", version=2, by="ana"),
    )
    assert store.check_push(message) is None
    released = derived_push(store, message, weights(3))
    assert (released.version, released.encryption, released.derived) == (3, None, message.derived)
    assert (released.metrics, released.evaluated, released.pinned) == (
        {"accuracy": 0.75},
        True,
        True,
    )
    assert store.check_push(message) == released  # a repeated request
    (latest,) = store.latest()
    assert latest == released
    trained = store.push(push_of(source.spec, put(store, weights(9))), ())
    assert trained == StoreRefusal(
        "model 'digits' has been trained: version 3 has the weights of version 2; push it with "
        "`fedbus models push --reset`, or under another name with --name"
    )
    again = store.store_job(0, "b", MODEL, b"{}", strategy=ENCRYPTED)
    assert isinstance(again, StoredJob)
    assert again.base == released
    refused = store.check_push(replace(message, weights=blob_ref_of(weights(4))))
    assert isinstance(refused, StoreRefusal)
    assert refused.reason.startswith("model 'digits' is being trained by job 'b'")


def test_a_rotated_version_is_continued_with_the_new_key(store: Store) -> None:
    """Its anchor is kept, and jobs with the old key are refused."""
    anchor = begin(store, strategy=ENCRYPTED).base
    source = commit_encrypted(store)
    assert source.encryption is not None
    content = b"the same numbers with the new key"
    message = push_of(
        source.spec,
        blob_ref_of(content),
        derived=Derivation(kind="rotation", version=2, by="ana"),
        encryption=replace(source.encryption, key=OTHER_ENCRYPTION_KEY),
    )
    rotated = derived_push(store, message, content)
    assert rotated.encryption == message.encryption
    assert rotated.encryption is not None
    assert rotated.encryption.anchor == anchor.version
    assert isinstance(store.store_job(0, "b", MODEL, b"{}", strategy=ENCRYPTED), StoreRefusal)
    other = replace(ENCRYPTED, encryption=replace(ENCRYPTION, key=OTHER_ENCRYPTION_KEY))
    assert isinstance(store.store_job(0, "b", MODEL, b"{}", strategy=other), StoredJob)


def test_a_released_version_has_the_epsilon_of_its_source(store: Store) -> None:
    """Its weights are those that noise was paid for; pushed weights begin with 0 again."""
    begin(store, strategy=replace(PRIVATE, encryption=ENCRYPTION))
    source = commit_encrypted(store, private=True)
    before = store.model_privacy(MODEL)
    assert isinstance(before, ModelPrivacy)
    assert before.jobs[0].spent is not None
    assert before.jobs[0].spent.mechanism == TERMS.mechanism
    message = push_of(
        source.spec,
        blob_ref_of(weights(3)),
        derived=Derivation(kind="release", version=2, by="ana"),
    )
    released = derived_push(store, message, weights(3))
    assert released.privacy == source.privacy
    assert store.model_privacy(MODEL) == replace(before, version=3)
    open_job = store.store_job(0, "b", MODEL, b"{}", strategy=PRIVATE)
    assert isinstance(open_job, StoredJob)
    store.end_job(0, "b", "cancelled", "")
    store.push(replace(message, derived=None, reset=True), ())
    after = store.model_privacy(MODEL)
    assert isinstance(after, ModelPrivacy)
    assert (after.version, after.jobs) == (4, ())


def test_other_models_are_not_looked_at(store: Store) -> None:
    """A model without versions has none to derive from."""
    push(store, model="faces")
    message = replace(RELEASE, model="digits")
    assert store.check_push(message) == StoreRefusal("model 'digits' has no version 2")
