"""Type of the fixture `install`, which installs a third-party package for one test."""

from typing import Protocol


class Install(Protocol):
    """Add a package to the import path: one module with these entry points."""

    def __call__(self, name: str, entries: str, source: str, /) -> None: ...
