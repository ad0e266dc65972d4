"""The collectors' noise key: a file of 32 random bytes that only its owner can read.

Who knows the key can take the noise away from every round of every job. All collectors have the
same one, so that each of them draws the noise of a round again in the same way.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fedbus.errors import SettingsError
from fedbus.private_files import create_private_file, read_private_file

NOISE_KEY_BYTES: Final = 32
_LEAST_DIFFERENT: Final = 16
"""Random bytes have fewer different ones once in 3 * 10^16 keys."""
_PRINTABLE: Final = range(0x20, 0x7F)
"""Random bytes are all printable once in 6 * 10^13 keys."""
MAKE_ONE: Final = "make one with `fedbus privacy key FILE`"


@dataclass(frozen=True, slots=True)
class NoiseKey:
    """A noise key; its bytes are not in its `repr`.

    Raises:
        ValueError: There are not 32 bytes, or they are not random: what collectors announce is the
            digest of the key, by which a guessed one is recognized. The message has none of them.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != NOISE_KEY_BYTES:
            raise ValueError(f"expected {NOISE_KEY_BYTES} bytes, got {len(self.secret)}")
        if len(set(self.secret)) < _LEAST_DIFFERENT:
            raise ValueError("many bytes are equal, so they are not random")
        if all(byte in _PRINTABLE for byte in self.secret):
            raise ValueError("it is text, not random bytes, so it may be guessed")

    @property
    def digest(self) -> str:
        """SHA-256 of the key, 64 hex digits: it names the key in messages and records."""
        return hashlib.sha256(self.secret).hexdigest()


def read_noise_key(path: Path) -> NoiseKey:
    """Read a noise key, and check that no other user of the system could read or change it.

    A symbolic link is followed: what counts is the file that is opened.

    Raises:
        SettingsError: The file is missing, is no key, or other users can read it; the message says
            how to mend it.
    """
    content = read_private_file(path, "noise key", NOISE_KEY_BYTES, MAKE_ONE)
    try:
        if len(content) > NOISE_KEY_BYTES:
            raise ValueError(f"expected {NOISE_KEY_BYTES} bytes, got more")  # noqa: TRY301 - as NoiseKey does
        return NoiseKey(content)
    except ValueError as error:
        raise SettingsError(f"noise key {path}: {error}; {MAKE_ONE}") from None


def create_noise_key(path: Path, random_bytes: Callable[[int], bytes] = os.urandom) -> NoiseKey:
    """Create the file of a new key: at once complete, readable for its owner only.

    Raises:
        SettingsError: There is a file already, which is left as it is, or its folder is missing.
        StoreError: It cannot be written.
    """
    key = NoiseKey(random_bytes(NOISE_KEY_BYTES))
    create_private_file(path, key.secret, "jobs that run need their key until they end")
    return key


def keep_noise_key(path: Path) -> NoiseKey:
    """Read the noise key of a file, or create the file if there is none.

    Raises:
        SettingsError: The file is no key, or other users can read it.
        StoreError: It cannot be written.
    """
    return read_noise_key(path) if path.exists() else create_noise_key(path)
