"""The disk under the embedded store: its errors translated, its steps told to fault tests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from fedbus.errors import StoreError

At: TypeAlias = Callable[[str], None]
"""Is told each step before it is taken, so that a fault test can kill the process there, or raise
the disk's own OSError."""


@contextmanager
def translated(doing: str, where: Path) -> Iterator[None]:
    """Turn the disk's errors into StoreError: what, where, why."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{doing}: {where}: {error.strerror or error}") from error
