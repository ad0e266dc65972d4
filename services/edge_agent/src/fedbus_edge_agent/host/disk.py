"""Disk errors, with the path at fault."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedbus.errors import StoreError


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Convert an `OSError` in the block to a `StoreError` that names a path."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
