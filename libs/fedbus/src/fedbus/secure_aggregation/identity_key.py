"""Identity key of an agent: Ed25519, in a file that only its owner can read.

It lasts as long as the file, and signs what neighbours must know to be this agent's: the public
keys of a task, and a set of survivors.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fedbus.atomic_write import PRIVATE, atomic_write, os_errors_as_store_errors
from fedbus.errors import SettingsError
from fedbus.private_files import read_existing_private_file
from fedbus.secure_aggregation.ed25519_public_key import ed25519_public_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

IDENTITY_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class IdentityKey:
    """An Ed25519 key; its bytes are not in its `repr`."""

    private: bytes = field(repr=False)

    @property
    def public(self) -> str:
        """The public part, 64 hexadecimal digits."""
        return ed25519_public_key(self.private).hex()

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes; the same for the same message."""
        return self._key().sign(message)

    def _key(self) -> "Ed25519PrivateKey":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.private)


def is_signed(message: bytes, signature: bytes, public: str) -> bool:
    """Return whether a signature over a message is of the owner of this public key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def keep_identity_key(path: Path, random_bytes: Callable[[int], bytes] = os.urandom) -> IdentityKey:
    """Read the identity key of a file, or create the file if there is none.

    Raises:
        SettingsError: The file is no key, belongs to another user, or other users can read it; the
            message says how to mend it.
        StoreError: It cannot be written.
    """
    try:
        key = read_existing_private_file(path, "identity key", IDENTITY_KEY_BYTES)
    except FileNotFoundError:
        key = random_bytes(IDENTITY_KEY_BYTES)
        with os_errors_as_store_errors(path, "identity key"):
            atomic_write(path, key, mode=PRIVATE, durable=True)
    if len(key) != IDENTITY_KEY_BYTES:
        raise SettingsError(
            f"identity key {path}: expected {IDENTITY_KEY_BYTES} bytes; move the file away, and "
            "the agent makes a new one, which those who have pinned the old one must pin again"
        )
    return IdentityKey(key)
