"""Fingerprint of a file or folder from its metadata, without reading its content."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fedbus.digest import digest_of

MAX_SUBFOLDER_LEVELS: Final = 8
"""Levels of subfolders that are scanned, as many as the loaders read."""
MAX_QUICK_FILES: Final = 5000
"""Files of a folder that the quick fingerprint includes, which takes about 50 ms."""


def fingerprint(path: Path) -> str:
    """Return a digest of the name, inode, size and mtime of all files; "" for a missing path.

    A hundred thousand files take half a second or more: too long for the event loop.
    """
    return _fingerprint(path, None)


def quick_fingerprint(path: Path) -> str:
    """Return the same in a short time; of more than `MAX_QUICK_FILES` files only folders count.

    Then it changes when a file is added, removed or renamed, but not when one is rewritten.
    """
    return _fingerprint(path, MAX_QUICK_FILES)


def _fingerprint(path: Path, max_files: int | None) -> str:
    try:
        found = path.stat()
        inside = _inside(path, max_files) if path.is_dir() else []
    except OSError:
        return ""
    facts = "\n".join(sorted([_facts(str(path), found), *inside]))
    return digest_of(facts.encode(errors="surrogateescape"))  # a file name has any encoding


def _inside(path: Path, max_files: int | None) -> list[str]:
    folders: list[os.DirEntry[str]] = []
    files: list[os.DirEntry[str]] = []
    level: list[str | Path] = [path]
    for _ in range(MAX_SUBFOLDER_LEVELS):
        below: list[str | Path] = []
        for folder in level:
            for entry in _entries(folder):
                if entry.is_dir():
                    folders.append(entry)
                    below.append(entry.path)
                elif max_files is None or len(files) <= max_files:
                    files.append(entry)
        level = below
    few = max_files is None or len(files) <= max_files
    # `stat` follows links, as loaders do.
    return [_facts(entry.path, entry.stat()) for entry in (folders + files if few else folders)]


def _entries(path: str | Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        yield from entries


def _facts(name: str, found: os.stat_result) -> str:
    size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
    return f"{name} {found.st_ino} {size} {found.st_mtime_ns}"
