"""Packages of others, as tests install them."""

from typing import Protocol


class Install(Protocol):
    """Puts a package on the path: a module, and the entry points that name what is in it."""

    def __call__(self, name: str, entries: str, source: str, /) -> None: ...
