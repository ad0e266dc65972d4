"""The collectors' noise key: a file of 32 random bytes that only its owner can read.

Who knows the key can take the noise away from every round of every job. All collectors have the
same one, so that each of them draws the noise of a round again in the same way.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fedbus.atomic_write import PRIVATE, sync_folder, temporary_path
from fedbus.errors import SettingsError, StoreError

NOISE_KEY_BYTES: Final = 32
_LEAST_DIFFERENT: Final = 16
"""Random bytes have fewer different ones once in 3 * 10^16 keys."""
_PRINTABLE: Final = range(0x20, 0x7F)
"""Random bytes are all printable once in 6 * 10^13 keys."""
MAKE_ONE: Final = "make one with `fedbus privacy key FILE`"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


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
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise SettingsError(f"noise key {path}: there is no such file; {MAKE_ONE}") from None
    except PermissionError:
        raise SettingsError(
            f"noise key {path}: user {os.geteuid()}, as which this process runs, may not read it: "
            f"chown {os.geteuid()} {path}"
        ) from None
    except OSError as error:
        raise SettingsError(f"noise key {path}: {error.strerror or error}") from error
    try:
        if fault := _fault_of(os.fstat(descriptor), path):
            raise SettingsError(f"noise key {path}: {fault}")
        content = os.read(descriptor, NOISE_KEY_BYTES + 1)
    finally:
        os.close(descriptor)
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
    key, new = NoiseKey(random_bytes(NOISE_KEY_BYTES)), temporary_path(path, shared=True)
    try:
        with suppress(FileNotFoundError):
            new.unlink()  # of a process that was killed
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, PRIVATE)  # whatever the umask is
                file.write(key.secret)
                file.flush()
                os.fsync(descriptor)
            os.link(new, path)  # unlike a renaming, it replaces no file
        finally:
            new.unlink()
        sync_folder(path.parent)
    except FileExistsError:
        raise SettingsError(
            f"{path}: this file exists; jobs that run need their key until they end, so remove it "
            "yourself or choose another name"
        ) from None
    except (FileNotFoundError, NotADirectoryError):
        raise SettingsError(
            f"{path}: there is no folder {path.parent}; make it with `mkdir -p`, or choose another"
        ) from None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
    return key


def keep_noise_key(path: Path) -> NoiseKey:
    """Read the noise key of a file, or create the file if there is none.

    Raises:
        SettingsError: The file is no key, or other users can read it.
        StoreError: It cannot be written.
    """
    return read_noise_key(path) if path.exists() else create_noise_key(path)


def _fault_of(status: os.stat_result, path: Path) -> str:
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        return "this is no regular file"
    if status.st_uid not in (0, os.geteuid()):
        return (
            f"it belongs to user {status.st_uid}, who can read and change the key: "
            f"chown {os.geteuid()} {path}"
        )
    if mode & _OTHERS:
        return (
            f"its mode is {mode:04o}, so other users can read the key or change it: "
            f"chmod 600 {path}. A secret of a Docker swarm has the mode 0444 unless the service's "
            f"`secrets` entry sets `mode: 0400` and `uid: '{os.geteuid()}'`; one that Compose "
            "mounts from a file has the owner and mode of that file"
        )
    return ""
