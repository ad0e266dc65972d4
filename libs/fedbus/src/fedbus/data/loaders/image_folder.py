"""Images of a folder with a subfolder for each class, and notes on skipped files."""

import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from fedbus.data.arrays import index_names
from fedbus.errors import TrainingError
from fedbus.text import in_given_order, listed

SUFFIXES: Final = frozenset({
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
    ".tif", ".tiff", ".webp",
})  # fmt: skip
_SYSTEM: Final = frozenset({
    "@eadir", "@recycle", "#recycle", "$recycle.bin", "__macosx", "__pycache__", "desktop.ini",
    "lost+found", "system volume information", "thumbs.db",
})  # fmt: skip
"""Names, in lower case, of folders and files that operating systems create."""
_DEPTH: Final = 8
_SHOWN: Final = 4
_WHOLE: Final = re.compile(r"\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file, its class, and its size and mtime when it was found."""

    path: Path
    label: int
    file_state: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """All images of a folder, in a random order that is always the same.

    Attributes:
        classes: Names of the classes, in the order of their numbers.
        notes: Sentences on skipped files.
    """

    found: Sequence[ImageFile]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Skipped:
    """Skipped files and folders, for the notes."""

    hidden: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    outside: int = 0
    others: Counter[str] = field(default_factory=Counter)

    def notes(self, classes: Sequence[str] | None) -> Iterator[str]:
        if self.hidden:
            yield f"hidden files and folders are skipped: {_some(self.hidden)}"
        if self.empty:
            how = "no class" if classes is None else "classes without a row here"
            yield f"folders without pictures are {how}: {_some(self.empty)}"
        if self.outside:
            yield f"{self.outside} pictures outside the folders of classes are skipped"
        if self.others:
            counts = ", ".join(f"{n} {suffix or 'without a suffix'}" for suffix, n in
                             self.others.most_common(_SHOWN))  # fmt: skip
            yield f"files that are no pictures by their names are skipped: {counts}"


def scan_image_folder(folder: Path, classes: Sequence[str] | None, *, nested: bool) -> ImageFolder:
    """Find the images of each class.

    Names of classes are normalized (Unicode NFC), since Linux and macOS encode é differently.

    Raises:
        TrainingError: there are none, a folder is not a class, or a class has subfolders.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "nothing"
        raise TrainingError(
            f"{folder}: expected a folder with a folder of pictures for each class, got {got}"
        )
    skipped = _Skipped()
    folders = dict(sorted(_class_folders(folder, skipped), key=lambda each: in_order(each[0])))
    files = {name: _files(path, skipped, nested=nested) for name, path in folders.items()}
    there = [name for name in folders if files[name]]
    skipped.empty = [name for name in folders if not files[name]]
    if not there:
        raise TrainingError(
            f"{folder}: no pictures there; they lie in a folder for each class, as "
            f"{folder.name or folder}/CLASS/picture.png ({listed(SUFFIXES)})"
            + "".join(f"; {note}" for note in skipped.notes(classes))
        )
    given = None if classes is None else [unicodedata.normalize("NFC", str(n)) for n in classes]
    named: Mapping[str, int] = index_names(there if given is None else given)
    if unknown := [name for name in there if name not in named]:
        raise TrainingError(
            f"{folders[unknown[0]]}: no such class; they are {in_given_order(named)}"
        )
    found = [
        ImageFile(file, named[name], file_state(file)) for name in there for file in files[name]
    ]
    order = np.random.default_rng(0).permutation(len(found))
    return ImageFolder(
        [found[place] for place in order], tuple(named), tuple(skipped.notes(classes))
    )


def in_order(name: str) -> tuple[bool, int, str]:
    """Return a sort key: whole numbers by value, before words: 2, 10, cat."""
    whole = _WHOLE.fullmatch(name) is not None
    return not whole, int(name) if whole else 0, name


def hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or created by an operating system."""
    return name.startswith(".") or name.lower() in _SYSTEM


def _class_folders(folder: Path, skipped: _Skipped) -> Iterator[tuple[str, Path]]:
    seen: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()):
        if hidden(entry.name):
            skipped.hidden.append(entry.name)
        elif entry.is_dir():
            name = unicodedata.normalize("NFC", entry.name)
            if name in seen:
                raise TrainingError(f"{entry} and {seen[name]} are one class by their names")
            seen[name] = entry
            yield name, entry
        elif entry.suffix.lower() in SUFFIXES:
            skipped.outside += 1


def _files(folder: Path, skipped: _Skipped, *, nested: bool, depth: int = 1) -> list[Path]:
    """List the images of a class, with `nested` also those in its subfolders."""
    files = []
    for entry in sorted(folder.iterdir()):
        if hidden(entry.name):
            skipped.hidden.append(f"{folder.name}/{entry.name}")
        elif entry.suffix.lower() in SUFFIXES:
            files.append(entry)
        elif entry.is_dir() and depth < _DEPTH:
            below = _files(entry, skipped, nested=nested, depth=depth + 1)
            if below and not nested:
                raise TrainingError(
                    f"{entry}: pictures in a folder below that of a class; set FEDBUS_DATA to "
                    f'{folder} if its folders are the classes, "nested": true if they all are of '
                    f"class {folder.name!r}"
                )
            files += below
        elif not entry.is_dir():
            skipped.others[entry.suffix.lower()] += 1
    return files


def file_state(file: Path) -> tuple[int, int]:
    """Return the size and mtime of a file; raise TrainingError if it is not a file."""
    try:
        seen = os.stat(file)  # noqa: PTH116 - ten times faster than Path.stat, for millions of files
    except OSError as error:
        raise TrainingError(f"{file}: {error.strerror}") from error
    if not stat.S_ISREG(seen.st_mode):
        raise TrainingError(f"{file}: not a file")
    return seen.st_size, seen.st_mtime_ns


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
