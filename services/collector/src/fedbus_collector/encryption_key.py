"""The collector's part of the key for homomorphic encryption, and what adds ciphertexts with it."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from fedbus.core.actions import Action, AnnounceEncryptionKey
from fedbus.encryption.encrypted_blob import EncryptedHeader
from fedbus.errors import SettingsError
from fedbus.frameworks.installed import is_installed
from fedbus.wire.blobs import ModelRef
from fedbus.wire.encryption import EncryptionTerms

NO_ENCRYPTION_KEY: Final = (
    "this collector has no encryption key: set FEDBUS_ENCRYPTION_KEY to the public key file, which "
    "`fedbus keys generate FOLDER` makes beside the secret one of the agents"
)
_SHOWN_DIGITS: Final = 12


class AddsCiphertexts(Protocol):
    """Adds ciphertexts in files; see `fedbus.encryption.ciphertext_sums.SumProcess`."""

    def add(
        self, total: Path | None, update: Path, out: Path, expected: EncryptedHeader
    ) -> EncryptedHeader:
        """Write the sum of `total`, None before the first update, and `update` into `out`.

        Raises:
            EncryptionError: The update is refused; `total` is as before.
            StoreError: A file cannot be read or written.
        """
        ...

    def close(self) -> None:
        """End what it has started."""
        ...


@dataclass(slots=True)
class CollectorKey:
    """The id of the public key, and what adds ciphertexts for all rounds, one after the other.

    Attributes:
        id: The id of the key; None if this collector has none.
        sums: What adds ciphertexts with it.
    """

    id: str | None = None
    sums: AddsCiphertexts | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def read(cls, path: Path) -> "CollectorKey":
        """Read the public key file; its process starts when the first update is added.

        Raises:
            SettingsError: It is none, for example a secret key; or TenSEAL is missing.
        """
        # Few collectors have a key.
        from fedbus.encryption.ciphertext_sums import SumProcess  # noqa: PLC0415
        from fedbus.encryption.key_files import PublicKey  # noqa: PLC0415
        from fedbus.encryption.tenseal_contexts import INSTALL  # noqa: PLC0415

        if not is_installed("tenseal"):
            raise SettingsError(INSTALL)
        return cls(PublicKey.load(path).id, SumProcess(path))

    def connected(self) -> Iterator[Action]:
        """Announce the key."""
        if self.id is not None:
            yield AnnounceEncryptionKey(self.id)

    def check(self, terms: EncryptionTerms, base: ModelRef) -> None:
        """Raise SettingsError if there is no key, or another one than the job's or the base's."""
        if self.id is None:
            raise SettingsError(NO_ENCRYPTION_KEY)
        wanted, held = terms.key[:_SHOWN_DIGITS], self.id[:_SHOWN_DIGITS]
        if terms.key != self.id:
            raise SettingsError(
                f"the job's encryption key is {wanted}, and this collector has {held}; put the "
                "same public key file on all collectors"
            )
        if base.encryption is not None and base.encryption.key != terms.key:
            raise SettingsError(
                f"{base.model} version {base.version} is encrypted with the key "
                f"{base.encryption.key[:_SHOWN_DIGITS]}, and the job's is {wanted}; a holder of "
                f"both encrypts it with the job's: `fedbus keys rotate {base.model}`"
            )

    def add(
        self, total: Path | None, update: Path, out: Path, expected: EncryptedHeader
    ) -> EncryptedHeader:
        """Add an update in a worker thread; raises as `AddsCiphertexts.add` does."""
        if self.sums is None:
            raise SettingsError(NO_ENCRYPTION_KEY)
        with self._lock:
            return self.sums.add(total, update, out, expected)

    def close(self) -> None:
        """End the process that adds, if it was started."""
        if self.sums is not None:
            self.sums.close()
