"""Disk of the embedded store: its fault injection, and the reservation of space."""

import errno
import os
from collections.abc import Callable
from typing import TypeAlias

OnStep: TypeAlias = Callable[[str], None]
"""Called before each step on the disk; a fault test kills the process in it, or raises OSError."""


def reserve_space(file: int, size: int) -> None:
    """Reserve the bytes of a new file; raise OSError at once if they are not free.

    Some file systems cannot reserve: there the C library writes to every block, which would fill
    the disk before it fails. Therefore the free space is compared first. macOS reserves nothing:
    there a disk that other writers fill meanwhile fails a write.
    """
    found = os.fstatvfs(file)
    if (free := found.f_bavail * found.f_frsize) < size:
        reason = f"{os.strerror(errno.ENOSPC)}, {size} bytes are needed and {free} are free"
        raise OSError(errno.ENOSPC, reason)
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.ftruncate(file, size)
