"""The state of a file or folder, named without reading it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fedbus.digest import digest_of

DEPTH: Final = 8
"""Levels of folders that are looked into, as loaders do."""
GLIMPSED: Final = 5000
"""Files of a folder that a glimpse looks at one by one, in some 50 ms."""


def stamp(path: Path) -> str:
    """Name the state of a file or folder, of all its files; "" is nothing there.

    A hundred thousand files take half a second or more: not for an event loop.
    """
    return _stamp(path, None)


def glimpse(path: Path) -> str:
    """Do the same in a short time: of a folder of more than `GLIMPSED` files only folders count.

    What is added, removed or renamed is noticed then, a file that is written into is not.
    """
    return _stamp(path, GLIMPSED)


def _stamp(path: Path, most: int | None) -> str:
    try:
        seen = path.stat()
        inside = _inside(path, most) if path.is_dir() else []
    except OSError:
        return ""
    facts = "\n".join(sorted([_facts(str(path), seen), *inside]))
    return digest_of(facts.encode(errors="surrogateescape"))  # a name is bytes, of any encoding


def _inside(path: Path, most: int | None) -> list[str]:
    folders: list[os.DirEntry[str]] = []
    files: list[os.DirEntry[str]] = []
    level: list[str | Path] = [path]
    for _ in range(DEPTH):
        below: list[str | Path] = []
        for folder in level:
            for entry in _entries(folder):
                if entry.is_dir():
                    folders.append(entry)
                    below.append(entry.path)
                elif most is None or len(files) <= most:
                    files.append(entry)
        level = below
    # Links are followed, as loaders follow them.
    few = most is None or len(files) <= most
    return [_facts(entry.path, entry.stat()) for entry in (folders + files if few else folders)]


def _entries(path: str | Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        yield from entries


def _facts(name: str, seen: os.stat_result) -> str:
    size = 0 if stat.S_ISDIR(seen.st_mode) else seen.st_size
    return f"{name} {seen.st_ino} {size} {seen.st_mtime_ns}"
