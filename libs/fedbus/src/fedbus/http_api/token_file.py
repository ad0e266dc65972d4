"""Tokens file of a service: read when it changes, and changed by `fedbus tokens`.

While the file cannot be read, a service accepts no token.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fedbus.atomic_write import PRIVATE, atomic_write, os_errors_as_store_errors
from fedbus.errors import SettingsError
from fedbus.http_api.tokens import MAX_TOKENS_FILE_BYTES, HttpToken, format_tokens, read_tokens
from fedbus.private_files import read_existing_private_file, read_private_file

_WHAT = "tokens file"
_MAKE_ONE = "make one with `fedbus tokens new NAME SCOPE… --file FILE`"
Tokens = tuple[HttpToken, ...]


class TokenFile:
    """The tokens of a file, read again when the file has changed.

    Raises:
        SettingsError: The file cannot be read at the start, or other users can read it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[int, ...] | None = None
        self._tokens: Tokens = ()
        self._fault: SettingsError | None = None
        self.load()
        if self._fault is not None:
            raise self._fault

    def is_current(self) -> bool:
        """Return whether the file is the one that was read last; one system call."""
        return self._read is not None and self._read == _identity_of(self.path)

    def load(self) -> None:
        """Read the file; its fault is raised by `tokens`. Called in a thread."""
        identity = _identity_of(self.path)
        try:
            self._tokens, self._fault = load_tokens(self.path), None
        except SettingsError as error:
            self._tokens, self._fault = (), error
        self._read = identity

    def tokens(self) -> Tokens:
        """Return the tokens that were read last; raise SettingsError if there is a fault."""
        if self._fault is not None:
            raise self._fault
        return self._tokens


def load_tokens(path: Path) -> Tokens:
    """Read a tokens file; raise SettingsError with the path, the line and what is wrong."""
    data = read_private_file(path, _WHAT, MAX_TOKENS_FILE_BYTES, _MAKE_ONE)
    return _parsed(data, path)


def change_tokens(path: Path, change: Callable[[Tokens], Tokens]) -> None:
    """Replace the tokens of a file in one step; a missing file has none.

    Two commands at the same time change it one after the other.

    Raises:
        SettingsError: The file is not valid, other users can read it, its folder is missing, or
            `change` raises it.
        StoreError: The file cannot be written.
    """
    with _folder_locked(path):
        try:
            data = read_existing_private_file(path, _WHAT, MAX_TOKENS_FILE_BYTES)
        except FileNotFoundError:
            data = b""
        text = format_tokens(change(_parsed(data, path)))
        with os_errors_as_store_errors(path):
            atomic_write(path, text.encode(), mode=PRIVATE, durable=True)


def _parsed(data: bytes, path: Path) -> Tokens:
    if len(data) > MAX_TOKENS_FILE_BYTES:
        raise SettingsError(f"{_WHAT} {path}: more than {MAX_TOKENS_FILE_BYTES} bytes")
    try:
        return read_tokens(data.decode("ascii"))
    except UnicodeDecodeError:
        raise SettingsError(f"{_WHAT} {path}: not ASCII") from None
    except SettingsError as error:
        raise SettingsError(f"{_WHAT} {path}: {error}") from None


def _identity_of(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextmanager
def _folder_locked(path: Path) -> Iterator[None]:
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise SettingsError(
            f"{path}: there is no folder {path.parent}; make it with `mkdir -p`, or choose another"
        ) from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
