"""Atomic writes of the files that a user asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedbus.atomic_write import atomic_write, temporary_path
from fedbus.client.failures import Failed
from fedbus.errors import SettingsError
from fedbus.model.layout import Weights
from fedbus.model.npz import write_npz


def check_writable(path: Path) -> None:
    """Reject a path that cannot be written, before hours of work whose result goes there.

    Raises:
        SettingsError: the folder is missing, not writable, or has a folder of that name.
    """
    if path.is_dir():
        raise SettingsError(f"{path}: is a folder; give the path of a file")
    new = temporary_path(path)
    try:
        new.open("wb").close()
        new.unlink()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written: {error.strerror}") from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically.

    Raises:
        Failed: the disk is full, or the path is no longer writable; no partial file remains.
    """
    with _write_errors(path):
        atomic_write(path, data)


def write_weights(path: Path, weights: Weights) -> None:
    """Write an .npz file atomically; raises like `write_bytes`."""
    with _write_errors(path):
        write_npz(path, weights)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from error
