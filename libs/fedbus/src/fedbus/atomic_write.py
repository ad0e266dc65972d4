"""Atomic replacement of files: a reader finds the old content or the new one, never a part.

The content is written to a hidden file in the same folder, which is then renamed. A process that is
killed while it writes leaves that hidden file; the next write of the same file removes it.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Final

from fedbus.errors import StoreError, StoreFullError, StoreUnreachableError, StoreUnusableError
from fedbus.interruption import deferred_signals

PRIVATE: Final = 0o600
"""Mode of a file that only its owner can read, such as one with a password."""
_PUBLIC: Final = 0o666
"""Mode of any other file, less the process's umask."""
_REMEDIES: Final = {
    errno.ENOSPC: "; free space on this disk",
    errno.EDQUOT: "; free space, or ask for a larger quota",
    errno.EROFS: "; mount its disk with write access",
    errno.EIO: "; the disk is failing: read the kernel's log, and replace it",
    errno.EACCES: "; let the user of this process read and write it",
    errno.EPERM: "; let the user of this process read and write it",
    errno.EMFILE: "; send fewer requests at a time, or raise the process's limit of open files",
    errno.ENFILE: "; send fewer requests at a time, or raise the system's limit of open files",
}
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_FOR_NOW: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EBUSY, errno.ETIMEDOUT}
)
"""Too many open files, too little memory, or a network disk that does not answer."""


def temporary_path(path: Path, *, shared: bool = False) -> Path:
    """Return where the new content of a file is written first; see `open_atomic` for `shared`."""
    number = f".{os.getpid()}" if shared else ""
    return path.with_name(f".{path.name}{number}.new")


@contextmanager
def open_atomic(
    path: Path, *, mode: int = _PUBLIC, shared: bool = False, durable: bool = False
) -> Iterator[IO[bytes]]:
    """Open a new file that takes the place of `path` when the block ends.

    On any failure (a full disk, an exception in the block, Ctrl-C) the old file stays unchanged,
    and the new one is removed.

    Args:
        path: The file to replace or to create; its folder must exist.
        mode: Permissions of the new file, less the process's umask.
        shared: Several processes may write this file at the same time; the last one wins.
        durable: Sync the file before it is renamed and the folder afterwards, so that neither a
            power cut nor a crash of the system loses what this call has written.

    Raises:
        OSError: The file cannot be written. If only the sync of the folder failed, the new file is
            in place, and a power cut may undo that.
    """
    new = temporary_path(path, shared=shared)
    new.unlink(missing_ok=True)
    try:
        with open(new, "xb", opener=partial(os.open, mode=mode)) as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        new.replace(path)
    except BaseException:  # Ctrl-C as well
        with deferred_signals(), suppress(OSError):
            new.unlink(missing_ok=True)  # on a full disk every byte counts
        raise
    if durable:
        sync_folder(path.parent)


def atomic_write(
    path: Path,
    data: bytes | bytearray | memoryview,
    *,
    mode: int = _PUBLIC,
    shared: bool = False,
    durable: bool = False,
) -> None:
    """Replace the content of a file in one step; options and errors are those of `open_atomic`."""
    with open_atomic(path, mode=mode, shared=shared, durable=durable) as file:
        file.write(data)


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that a power cut does not undo the creation or renaming of its files."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def os_errors_as_store_errors(path: Path, operation: str = "") -> Iterator[None]:
    """Raise StoreError for OSError in the block: the operation, the path, the reason, a remedy."""
    try:
        yield
    except OSError as error:
        raise store_error_of(path, error, operation) from error


def store_error_of(path: Path | str, error: OSError, operation: str = "") -> StoreError:
    """Return the store's error for one of the operating system, of the kind that it is."""
    what = f"{operation}: {path}" if operation else f"{path}"
    number = error.errno or 0
    kind: type[StoreError] = StoreUnusableError
    if number in _FULL:
        kind = StoreFullError
    elif number in _FOR_NOW:
        kind = StoreUnreachableError
    return kind(f"{what}: {error.strerror or error}{_REMEDIES.get(number, '')}")
