"""Disk errors and fault injection of the embedded store."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from fedbus.errors import StoreError

OnStep: TypeAlias = Callable[[str], None]
"""Called before each step on the disk; a fault test kills the process in it, or raises OSError."""


@contextmanager
def os_errors_as_store_errors(operation: str, path: Path) -> Iterator[None]:
    """Raise StoreError for OSError, with the operation, the path and the reason."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{operation}: {path}: {error.strerror or error}") from error
