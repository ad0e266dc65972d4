"""Folder of a round's sum of ciphertexts, and removal of those that killed collectors left.

A collector holds a lock on each folder of its own. The system frees it when the process ends,
however it ends; a folder without a lock is one that no process will remove.
"""

import errno
import fcntl
import os
import tempfile
from pathlib import Path
from shutil import rmtree
from typing import Final

FOLDER_PREFIX: Final = "fedbus-sum-"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TRIES: Final = 10


class SumFolder:
    """A new folder, locked until it is removed.

    Raises:
        OSError: It cannot be created.
    """

    def __init__(self, place: Path) -> None:
        self.path, self._lock = _made(place)

    def remove(self) -> None:
        """Remove the folder and its files, as far as the disk allows it."""
        rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _made(place: Path) -> tuple[Path, int]:
    """Make a folder and lock it; another one if a starting collector removes it before that."""
    for _ in range(_TRIES):
        path = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=place))
        lock = lock_of(path)
        if lock is not None and path.is_dir():
            return path, lock
        if lock is not None:
            os.close(lock)
    raise OSError(errno.EBUSY, "the folders of sums are removed as soon as they are made")


def lock_of(path: Path) -> int | None:
    """Lock a folder; None if it is gone, or another process has locked it."""
    try:
        folder = os.open(path, _FOLDER)
    except OSError:
        return None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(folder)
        return None
    return folder


def remove_left_folders(place: Path) -> None:
    """Remove the folders of this user that collectors left when they were killed.

    Those of running collectors, which may have the same place, are locked and stay.
    """
    for path in sorted(place.glob(f"{FOLDER_PREFIX}*")):
        lock = lock_of(path)
        if lock is not None:
            if os.fstat(lock).st_uid == os.geteuid():
                rmtree(path, ignore_errors=True)
            os.close(lock)
