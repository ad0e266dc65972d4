"""Files that the command writes for its user, whole or not at all."""

from pathlib import Path

from fedbus.atomic_write import atomic_write, temporary_path
from fedbus.client.failures import Failed
from fedbus.errors import SettingsError
from fedbus.model.layout import Weights
from fedbus.model.npz import write_npz


def check_writable(path: Path) -> None:
    """Find out whether a file can be written there, before hours are spent on what goes into it.

    Raises:
        SettingsError: it cannot: no such folder, no permission, or a folder of that name.
    """
    if path.is_dir():
        raise SettingsError(f"{path}: a folder; a file is written there")
    new = temporary_path(path)
    try:
        new.open("wb").close()
        new.unlink()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written: {error.strerror}") from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file in one step.

    Raises:
        Failed: the disk is full, or the file cannot be written any more; nothing is left of it.
    """
    try:
        atomic_write(path, data)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from error


def write_weights(path: Path, weights: Weights) -> None:
    """Write named arrays in one step, so that no reader finds a part of them.

    Raises:
        Failed: the disk is full, or the file cannot be written any more; nothing is left of it.
    """
    try:
        write_npz(path, weights)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from error
