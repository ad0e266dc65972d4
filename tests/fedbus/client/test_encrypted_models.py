"""Encrypted versions for clients: which blobs they are read from, and who can read them."""

from dataclasses import replace

import pytest

from fedbus.client.failures import Refused
from fedbus.client.model_downloads import blobs_of, check_readable
from fedbus.encryption.key_files import SecretKey
from fedbus.wire.blobs import BlobRef, EncryptedVersion, ModelRef
from tests.sample_encryption import sample_key

ANCHOR = BlobRef(digest="a" * 64, size=10)
PLAIN = ModelRef(
    model="digits",
    version=1,
    weights=BlobRef(digest="b" * 64, size=10),
    spec=BlobRef(digest="c" * 64, size=10),
    source="repository.1",
)
ENCRYPTED = replace(
    PLAIN,
    encryption=EncryptedVersion(
        scheme="bfv",
        key=sample_key().id,
        parameters="d" * 64,
        anchor=1,
        anchor_weights=ANCHOR,
    ),
)


def test_an_encrypted_version_is_read_from_its_anchor_as_well() -> None:
    """Its numbers are distances from it."""
    assert blobs_of(PLAIN) == (PLAIN.spec, PLAIN.weights)
    assert blobs_of(ENCRYPTED) == (PLAIN.spec, PLAIN.weights, ANCHOR)


def test_only_the_key_of_a_version_reads_it() -> None:
    """Nothing is fetched without it, and the sentence says what to do."""
    check_readable(PLAIN, None)
    check_readable(ENCRYPTED, sample_key())
    held = sample_key().id[:12]
    with pytest.raises(Refused) as raised:
        check_readable(ENCRYPTED, None)
    assert str(raised.value) == (
        f"digits version 1 is encrypted with the key {held}: with `--key FILE`, the secret key "
        "file of its agents, `fedbus models pull` decrypts it; `fedbus models release digits --key "
        "FILE` makes a version that everyone can read"
    )
    other = SecretKey.generate(sample_key().parameters)
    with pytest.raises(Refused) as raised:
        check_readable(ENCRYPTED, other)
    assert str(raised.value) == (
        f"digits version 1 is encrypted with the key {held}, and the key given is {other.id[:12]}"
    )
