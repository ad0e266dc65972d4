"""Folders of models: which versions there are, and whether their files have changed.

    MODELS/digits/model.json       a spec, its files and weights: version by version, as they change
    MODELS/digits/2/model.tflite   version 2 of digits; 1/, 2/ … are versions of one model
    MODELS/digits.tflite           a model that is one file

Files whose names begin with a dot or end in `~`, `.part` or `.tmp` are not looked at.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from fedbus.scalars import IDENT, IDENT_SAID

SINGLE_FILES: Final = (".tflite", ".onnx")
"""Suffixes of files that are a whole model."""
MAX_FOLDER_FILES: Final = 256
"""Files that one version may consist of."""
_UNFINISHED: Final = ("~", ".part", ".tmp")

Fingerprint: TypeAlias = tuple[tuple[str, int, int], ...]
"""Name, bytes and modification time (ns) of each file of a version."""


@dataclass(frozen=True, slots=True)
class VersionFiles:
    """The files of one version.

    Attributes:
        path: The folder, or the only file.
        version: As the folder's name states it; None: the model has no folders of versions.
        fingerprint: Changes with each change of a file.
        idle_seconds: Time since the last change.
    """

    model: str
    version: int | None
    path: Path
    fingerprint: Fingerprint
    idle_seconds: float


@dataclass(frozen=True, slots=True)
class ScannedModels:
    """What a scan found: the versions of each model, and why other entries are passed over."""

    versions: dict[str, list[VersionFiles]] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)


def scan_models(folder: Path, wall_clock: Callable[[], float]) -> ScannedModels:
    """Find the versions of all models in a folder. Called in a thread.

    Raises:
        OSError: The folder cannot be read.
    """
    found = ScannedModels()
    for path in sorted(folder.iterdir()):
        if _is_hidden(path):
            continue
        name = path.name if path.is_dir() else path.stem
        if not path.is_dir() and path.suffix not in SINGLE_FILES:
            continue
        if not re.fullmatch(IDENT, name):
            found.passed_over[path.name] = f"its name is not {IDENT_SAID}"
            continue
        try:
            versions = list(_versions(name, path, wall_clock()))
        except OSError as error:
            found.passed_over[path.name] = error.strerror or str(error)
            continue
        if name in found.versions:
            found.passed_over[path.name] = f"there is another model {name}"
        elif versions:
            found.versions[name] = versions
        else:
            found.passed_over[path.name] = "it has no file"
    return found


def _versions(model: str, path: Path, now: float) -> Iterator[VersionFiles]:
    numbered = [
        inner
        for inner in (path.iterdir() if path.is_dir() else ())
        if inner.is_dir() and re.fullmatch(r"[1-9]\d{0,8}", inner.name)
    ]
    if not numbered:
        yield from _files_of(model, None, path, now)
    for inner in sorted(numbered, key=lambda each: int(each.name)):
        yield from _files_of(model, int(inner.name), inner, now)


def _files_of(model: str, version: int | None, path: Path, now: float) -> Iterator[VersionFiles]:
    inside = [path] if path.is_file() else [each for each in path.iterdir() if each.is_file()]
    facts = [(each.name, each.stat()) for each in inside if not _is_hidden(each)]
    if len(facts) > MAX_FOLDER_FILES:
        raise OSError(0, f"expected at most {MAX_FOLDER_FILES} files, got {len(facts)}")
    if facts:
        fingerprint = tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in facts))
        changed = max(max(stat.st_mtime, stat.st_ctime) for _, stat in facts)
        yield VersionFiles(model, version, path, fingerprint, now - changed)


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name.endswith(_UNFINISHED)
