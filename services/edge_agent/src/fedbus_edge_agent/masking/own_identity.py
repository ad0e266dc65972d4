"""Identity of this agent: its key file, and the public half that it announces."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedbus.atomic_write import os_errors_as_store_errors
from fedbus.secure_aggregation.identity_key import IdentityKey, keep_identity_key

KEY_FILE: Final = "identity.key"


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
        return cls(name, key, key.public)
