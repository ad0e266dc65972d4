"""The state of a file or folder, named without reading it."""

import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from fedbus.digests import digest_of

MAX_STATS: Final = 1000
"""Files of a folder that are looked at one by one; of a larger one only its folders are."""


def stamp(path: Path) -> str:
    """Name the state of a file or folder without reading it; "" is nothing there.

    Of a folder with more than `MAX_STATS` files only its folders count: what is added, removed or
    renamed is noticed, a file that is written into is not.
    """
    try:
        facts = [f"{entry} {_facts(entry)}" for entry in _entries(path)]
    except OSError:
        return ""
    return digest_of("\n".join(sorted(facts)).encode())


def _entries(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir():
        found = list(islice(path.glob("*"), MAX_STATS + 1))
        folders = [entry for entry in found if entry.is_dir()]
        yield from folders
        files = [entry for entry in found if not entry.is_dir()]
        for folder in folders:
            files += islice(folder.iterdir(), max(0, MAX_STATS + 1 - len(files)))
        if len(files) <= MAX_STATS:
            yield from files


def _facts(path: Path) -> str:
    seen = path.stat()
    size = 0 if stat.S_ISDIR(seen.st_mode) else seen.st_size
    return f"{seen.st_ino} {size} {seen.st_mtime_ns}"
