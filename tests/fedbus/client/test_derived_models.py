"""Versions that key holders make for clients: what is pushed, and what is refused before."""

from dataclasses import replace

import numpy as np
import pytest

from fedbus.client.derived_models import (
    DerivedModel,
    check_encrypted,
    check_old_key,
    released,
    rotated,
    who_holds_the_key,
)
from fedbus.client.failures import Failed, Refused
from fedbus.client.results import PulledModel
from fedbus.encryption.encrypt import decrypt_version, encrypt_update
from fedbus.encryption.encrypted_blob import planned_header
from fedbus.encryption.encryption_terms import encryption_terms
from fedbus.encryption.key_files import SecretKey
from fedbus.model.blob import decode, encode
from fedbus.model.layout import Layout
from fedbus.wire import codec
from fedbus.wire.blobs import EncryptedVersion, ModelRef, blob_ref_of
from fedbus.wire.documents import ModelSpec, TensorSpec
from fedbus.wire.encryption import FixedPoint
from fedbus.wire.messages.model_requests import Derivation
from tests.sample_encryption import sample_key

LAYOUT = Layout.of({"bias": np.zeros(3, np.float32)})
SPEC = ModelSpec(
    model="digits",
    layout=(TensorSpec(name="bias", shape=(3,), dtype="float32"),),
    architectures={},
)
SPEC_BLOB = codec.to_json(SPEC)
ANCHOR = bytes(encode({"bias": np.ones(3, np.float32)}, LAYOUT))


def version_of(key: SecretKey) -> tuple[ModelRef, bytes]:
    """An encrypted version of one update, and its blob."""
    terms = encryption_terms(
        key.id, key.parameters, FixedPoint(bits=11, max_agents=4, max_examples=1)
    )
    anchor = blob_ref_of(ANCHOR)
    header = planned_header(terms, LAYOUT, anchor=anchor.digest, ranges=(0,), max_examples=1)
    update = {"bias": np.array([0.5, -0.25, 0.0], np.float32)}
    blob = bytes(encrypt_update(update, LAYOUT, header, 1, key, np.random.default_rng(1)))
    encryption = EncryptedVersion(
        scheme="bfv",
        key=key.id,
        parameters=terms.parameters,
        anchor=1,
        anchor_weights=anchor,
    )
    ref = ModelRef(
        model="digits",
        version=2,
        weights=blob_ref_of(blob),
        spec=blob_ref_of(SPEC_BLOB),
        source="repository.1",
        encryption=encryption,
    )
    return ref, blob


def only_blob(made: DerivedModel) -> bytes:
    """The blob that is pushed; the spec is stored already."""
    ((digest, blob),) = made.blobs.items()
    assert digest == made.push.weights.digest == blob_ref_of(blob).digest
    assert made.size == made.push.weights.size
    return bytes(blob)


def test_a_release_has_the_weights_that_were_decrypted() -> None:
    """And says which version they are, and whose they were to read."""
    ref, _ = version_of(sample_key())
    pulled = PulledModel(ref, SPEC, {"bias": np.array([1.5, 0.75, 1.0], np.float32)})
    made = released(pulled, "ana")
    assert made.push.derived == Derivation(kind="release", version=2, by="ana")
    assert (made.push.spec, made.push.encryption, made.push.reset) == (ref.spec, None, False)
    np.testing.assert_array_equal(decode(only_blob(made), LAYOUT)["bias"], [1.5, 0.75, 1.0])


@pytest.mark.parametrize(("updates", "least"), [(1, 3), (2, 3), (4, 5)])
def test_a_release_that_could_show_one_update_is_refused(updates: int, least: int) -> None:
    """Everyone can read a release: one of two agents would compute the update of the other."""
    ref, _ = version_of(sample_key())
    pulled = PulledModel(ref, SPEC, {"bias": np.ones(3, np.float32)}, updates)
    with pytest.raises(Refused) as raised:
        released(pulled, "ana", least)
    assert f"is the sum of {updates} update" in str(raised.value)
    assert f"a release needs {least}" in str(raised.value)
    assert released(pulled, "ana", updates).push.derived is not None
    assert released(replace(pulled, updates=3), "ana").push.derived is not None


def test_a_rotation_has_the_same_numbers_with_another_key() -> None:
    """The anchor stays."""
    old, new = sample_key(), SecretKey.generate(sample_key().parameters)
    ref, blob = version_of(old)
    made = rotated(ref, SPEC_BLOB, blob, (old, new), "ana")
    assert ref.encryption is not None
    assert made.push.encryption is not None
    assert replace(ref.encryption, key=new.id, parameters=made.push.encryption.parameters) == (
        made.push.encryption
    )
    assert made.push.derived == Derivation(kind="rotation", version=2, by="ana")
    before = decrypt_version(blob, LAYOUT, old)
    np.testing.assert_array_equal(
        decrypt_version(only_blob(made), LAYOUT, new)["bias"], before["bias"]
    )
    with pytest.raises(Failed, match="digits version 2: "):
        rotated(ref, SPEC_BLOB, blob[:-9], (old, new), "ana")


def test_what_no_key_opens_is_refused_before_anything_is_fetched() -> None:
    """Each sentence says what is wrong with the files that were given."""
    old, new = sample_key(), SecretKey.generate(sample_key().parameters)
    ref, _ = version_of(old)
    check_old_key(ref, old, new)
    for wrong, keys, said in (
        (replace(ref, encryption=None), (old, new), "is not encrypted: it can be read as it is"),
        (ref, (old, old), f"both files have the key {old.id[:12]}"),
        (ref, (new, old), f"is encrypted with the new key {old.id[:12]} already"),
        (
            with_key(ref, "0" * 64),
            (old, new),
            f"the key 000000000000, and the old key given is {old.id[:12]}",
        ),
    ):
        with pytest.raises(Refused, match=said):
            check_old_key(wrong, *keys)
    with pytest.raises(Refused, match="digits version 2 is not encrypted"):
        check_encrypted(replace(ref, encryption=None))


def with_key(ref: ModelRef, key: str) -> ModelRef:
    """The same version with another key."""
    assert ref.encryption is not None
    return replace(ref, encryption=replace(ref.encryption, key=key))


def test_a_machine_without_a_user_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository names the node that sent the push in any case."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 123_456_789)
    assert not who_holds_the_key()
    monkeypatch.setenv("LOGNAME", "ana")
    assert who_holds_the_key() == "ana"
