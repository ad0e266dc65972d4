"""Encryption of versions and nodes, in words."""

from dataclasses import replace

from fedbus.cli.output.encryption_text import (
    format_derivation,
    format_encryption,
    format_unserved,
    short_key_id,
)
from fedbus.wire.blobs import BlobRef, EncryptedVersion
from fedbus.wire.documents import ModelLatest
from fedbus.wire.messages.model_requests import Derivation


def test_a_node_without_a_key_has_an_empty_cell() -> None:
    """Most have none."""
    assert (short_key_id(None), short_key_id("1a" * 32)) == ("", "1a1a1a1a1a1a")
    assert not format_encryption(None)


def test_what_a_version_was_made_of_is_said() -> None:
    """In place of a job."""
    derived = Derivation(kind="rotation", version=7, by="")
    assert format_derivation(derived) == "rotated from 7"


def test_a_newer_encrypted_version_that_is_not_served_is_said() -> None:
    """An inference service answers with the newest version that it can read."""
    blob = BlobRef(digest="b" * 64, size=9)
    encryption = EncryptedVersion(
        scheme="bfv", key="a" * 64, parameters="c" * 64, anchor=1, anchor_weights=blob
    )
    newest = ModelLatest(
        model="digits",
        version=4,
        digest="d" * 64,
        size=9,
        spec=blob,
        source="repository.1",
        metrics={},
        parent=3,
        job="j",
        round=3,
        encryption=encryption,
    )
    assert format_unserved(newest, 1) == (
        "version 4 of digits is encrypted, so inference services answer with version 1; "
        "`fedbus models release digits --key FILE` stores a version that they can serve"
    )
    assert not format_unserved(newest, 4)
    assert not format_unserved(replace(newest, encryption=None), 1)
