"""Weights kept in a file: an .npz that is there whole or not at all."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fedbus.cli.exits import Failed
from fedbus.errors import SettingsError
from fedbus.layout import Weights


def check_writable(path: Path) -> None:
    """Find out whether a file can be written there, before hours are spent on what goes into it.

    Raises:
        SettingsError: it cannot: no such folder, no permission, or a folder of that name.
    """
    if path.is_dir():
        raise SettingsError(f"{path}: a folder; a file is written there")
    new = _new(path)
    try:
        new.open("wb").close()
        new.unlink()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written: {error.strerror}") from error


def write_weights(path: Path, weights: Weights) -> None:
    """Write named arrays in one step, so that nobody reads a half of them.

    Raises:
        Failed: the disk is full, or the file cannot be written any more; nothing is left of it.
    """
    new = _new(path)
    write: Any = np.lib.format.write_array  # it has no types
    try:
        # numpy's own savez leaves its archive open where the disk is full, to fail once more later.
        with zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as archive:
            for name, array in weights.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    write(entry, np.asanyarray(array), allow_pickle=False)
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise Failed(f"{path}: {error.strerror}") from error


def _new(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")
