"""Rotation of the key of a version, and reading a version with its anchor."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from fedbus.encryption.encrypt import decrypt_version, encrypt_update
from fedbus.encryption.encrypted_blob import planned_header
from fedbus.encryption.encryption_terms import encryption_terms
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.parameters import EncryptionParameters, choose_parameters
from fedbus.encryption.readable_weights import readable_weights
from fedbus.encryption.rotation import rotate_version
from fedbus.errors import EncryptionError
from fedbus.model.blob import decode, encode
from fedbus.model.layout import Layout, Tensor, Weights
from fedbus.wire.blobs import EncryptedVersion, Scheme, blob_ref_of
from fedbus.wire.encryption import FixedPoint

LAYOUT = Layout(
    (
        Tensor("bias", (3,), "float32", "weight"),
        Tensor("own", (2,), "float32", "local"),
        Tensor("weight", (50, 100), "float32", "weight"),
    )
)
ANCHOR = {
    "bias": np.array([1, 2, 3], np.float32),
    "own": np.array([8, 9], np.float32),
    "weight": np.ones((50, 100), np.float32),
}
FIXED_POINT = FixedPoint(bits=11, max_agents=20, max_examples=10)


@cache
def key_of(scheme: Scheme = "bfv", bits: int = 11, agents: int = 20) -> SecretKey:
    """A key; of each kind one, since making it takes a while."""
    return SecretKey.generate(choose_parameters(scheme=scheme, bits=bits, agents=agents))


OTHER_BITS = 16
SMALL = EncryptionParameters("bfv", 2048, (27, 27), plain_modulus=12289)
"""Parameters whose slots hold no sum of 20 numbers of 11 bits."""


def version_of(key: SecretKey) -> tuple[bytes, EncryptedVersion, Weights]:
    """The blob of a version of one update, how it is encrypted, and its distances."""
    anchor = bytes(encode(ANCHOR, LAYOUT))
    rng = np.random.default_rng(4)
    update = {
        "bias": rng.uniform(-1, 1, 3).astype(np.float32),
        "weight": rng.uniform(-0.2, 0.2, (50, 100)).astype(np.float32),
    }
    terms = encryption_terms(key.id, key.parameters, FIXED_POINT)
    digest = blob_ref_of(anchor).digest
    header = planned_header(terms, LAYOUT, anchor=digest, ranges=(0, -2), max_examples=10)
    blob = bytes(encrypt_update(update, LAYOUT, header, 7, key, rng))
    encryption = EncryptedVersion(
        scheme=terms.scheme,
        key=key.id,
        parameters=terms.parameters,
        anchor=1,
        anchor_weights=blob_ref_of(anchor),
    )
    return blob, encryption, decrypt_version(blob, LAYOUT, key)


@pytest.mark.parametrize("bits", [11, OTHER_BITS])
def test_a_rotated_version_has_the_same_numbers(bits: int) -> None:
    """Exactly, also if the new key packs them otherwise; the old key does not open it."""
    old, new = key_of(), key_of(bits=bits, agents=40)
    blob, encryption, distances = version_of(old)
    header, rotated = rotate_version(blob, LAYOUT, old, new)
    assert (header.key, header.anchor) == (new.id, encryption.anchor_weights.digest)
    assert (header.count, header.weight, header.ranges) == (1, 7, (0, -2))
    found = decrypt_version(rotated, LAYOUT, new)
    for name, expected in distances.items():
        np.testing.assert_array_equal(found[name], expected)
    with pytest.raises(EncryptionError, match=f"encrypted with key {new.id[:12]}"):
        decrypt_version(rotated, LAYOUT, old)


def test_a_rotated_ckks_version_has_nearly_the_same_numbers() -> None:
    """Each encryption adds its error."""
    old, new = key_of("ckks"), key_of("ckks", agents=30)
    blob, _, distances = version_of(old)
    _, rotated = rotate_version(blob, LAYOUT, old, new)
    found = decrypt_version(rotated, LAYOUT, new)
    for name, expected in distances.items():
        np.testing.assert_allclose(found[name], expected, atol=1e-4)


def test_a_key_that_cannot_hold_the_version_is_refused() -> None:
    """With how to make one that can."""
    old = key_of()
    blob, _, _ = version_of(old)
    small = SecretKey(replace(old.public, parameters=SMALL), old.context)
    with pytest.raises(EncryptionError, match=r"cannot hold the sum of 20 numbers of 11 bits; "):
        rotate_version(blob, LAYOUT, old, small)
    with pytest.raises(EncryptionError, match="is encrypted with bfv, and the new key is for ckks"):
        rotate_version(blob, LAYOUT, old, key_of("ckks"))
    with pytest.raises(EncryptionError, match="and the secret key here is"):
        rotate_version(blob, LAYOUT, key_of(bits=OTHER_BITS, agents=40), old)


def test_a_version_is_read_with_its_anchor() -> None:
    """Each number is the anchor's plus its distance; a local tensor is the anchor's."""
    key = key_of()
    blob, encryption, distances = version_of(key)
    anchor = bytes(encode(ANCHOR, LAYOUT))
    plain = decode(readable_weights(blob, anchor, encryption, LAYOUT, key), LAYOUT)
    for name, start in ANCHOR.items():
        expected = start + distances.get(name, np.zeros(start.shape))
        np.testing.assert_array_equal(plain[name], expected.astype(np.float32))
    other = replace(encryption, anchor_weights=blob_ref_of(b"another"))
    with pytest.raises(EncryptionError, match="the version has distances from the anchor"):
        readable_weights(blob, anchor, other, LAYOUT, key)
