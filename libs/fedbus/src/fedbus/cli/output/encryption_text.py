"""Encryption of versions and nodes, in the words of tables."""

from typing import Final

from fedbus.wire.blobs import EncryptedVersion
from fedbus.wire.documents import ModelLatest
from fedbus.wire.messages.model_requests import Derivation

_SHOWN_DIGITS: Final = 12


def short_key_id(key: str | None) -> str:
    """Return the first digits of the id of a key; "" if there is none."""
    return "" if key is None else key[:_SHOWN_DIGITS]


def format_encryption(found: EncryptedVersion | None) -> str:
    """Format how a version is encrypted: `bfv, key 1a1a1a1a1a1a, distances from version 1`.

    "" if it is not.
    """
    if found is None:
        return ""
    return f"{found.scheme}, key {short_key_id(found.key)}, distances from version {found.anchor}"


def format_derivation(derived: Derivation) -> str:
    """Format what a version was made of: `released from 5`."""
    how = "released" if derived.kind == "release" else "rotated"
    return f"{how} from {derived.version}"


def format_unserved(latest: ModelLatest, served: int) -> str:
    """Format that newer versions than the served one are encrypted; "" if the newest is not."""
    if latest.encryption is None or latest.version <= served:
        return ""
    return (
        f"version {latest.version} of {latest.model} is encrypted, so inference services answer "
        f"with version {served}; `fedbus models release {latest.model} --key FILE` stores a "
        "version that they can serve"
    )
