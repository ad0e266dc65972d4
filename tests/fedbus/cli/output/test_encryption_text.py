"""Encryption of versions and nodes, in words."""

from fedbus.cli.output.encryption_text import (
    format_derivation,
    format_encryption,
    short_key_id,
)
from fedbus.wire.messages.model_requests import Derivation


def test_a_node_without_a_key_has_an_empty_cell() -> None:
    """Most have none."""
    assert (short_key_id(None), short_key_id("1a" * 32)) == ("", "1a1a1a1a1a1a")
    assert not format_encryption(None)


def test_what_a_version_was_made_of_is_said() -> None:
    """In place of a job."""
    derived = Derivation(kind="rotation", version=7, by="")
    assert format_derivation(derived) == "rotated from 7"
