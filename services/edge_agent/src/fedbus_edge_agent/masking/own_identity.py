"""Identity of this agent: its key file, and the public half that it announces.

The public half has a file of its own, so that an agent that takes part in no masked round never
loads `cryptography`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedbus.atomic_write import PRIVATE, atomic_write, os_errors_as_store_errors
from fedbus.digest import digest_of
from fedbus.errors import StoreError
from fedbus.secure_aggregation.identity_key import IdentityKey, keep_identity_key

KEY_FILE: Final = "identity.key"
PUBLIC_FILE: Final = "identity.public"
_DIGITS: Final = 64


@dataclass(frozen=True, slots=True)
class OwnIdentity:
    """An agent's name, its identity key, and the key's public half in hexadecimal."""

    name: str
    key: IdentityKey
    public: str

    @classmethod
    def keep(
        cls, name: str, folder: Path, random_bytes: Callable[[int], bytes] = os.urandom
    ) -> "OwnIdentity":
        """Read the identity of an agent's folder, or create it.

        Raises:
            SettingsError: The key's file is no key, or other users can read it.
            StoreError: The disk is not readable or writable.
        """
        with os_errors_as_store_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        key = keep_identity_key(folder / KEY_FILE, random_bytes)
        return cls(name, key, _public_of(key, folder / PUBLIC_FILE))


def _public_of(key: IdentityKey, path: Path) -> str:
    """Return the public half from its file, which names the key that it was made from."""
    made_from = digest_of(key.private)
    try:
        public, _, source = path.read_text(encoding="ascii").strip().partition(" ")
        if source == made_from and len(bytes.fromhex(public)) * 2 == _DIGITS:
            return public
    except (OSError, ValueError):
        pass  # it is made below
    public = key.public
    try:
        atomic_write(path, f"{public} {made_from}\n".encode(), mode=PRIVATE)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    return public
