"""Addition of ciphertexts in this process, for simulations, whose agents send no damaged ones."""

from pathlib import Path
from typing import Any

from fedbus.encryption.ciphertext_addition import add_update
from fedbus.encryption.encrypted_blob import EncryptedHeader
from fedbus.encryption.key_files import PublicKey
from fedbus.encryption.tenseal_contexts import loaded_context


class InProcessSums:
    """Adds as `fedbus.encryption.sum_process` does; a crash would end this process."""

    def __init__(self, key: PublicKey) -> None:
        self._key = key
        self._context: Any = loaded_context(key.context)

    def add(
        self, total: Path | None, update: Path, out: Path, expected: EncryptedHeader
    ) -> EncryptedHeader:
        """Add an update to a sum; see `fedbus.encryption.ciphertext_addition.add_update`."""
        return add_update(total, update, out, expected, self._context, self._key.parameters)

    def close(self) -> None:
        """Do nothing: no process was started."""
