"""Names of a package whose modules are imported by the first use of one of them. Pure.

A package calls `names_on_first_use` where types are not checked, and has the same imports for that
check: a module with a `__getattr__` that mypy sees has every name, also a misspelt one.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def names_on_first_use(
    package: dict[str, Any], names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package.

    Args:
        package: Its `globals()`, which keeps each name that was used.
        names: The names that each module has for the package, by the module's name.

    Returns:
        `__getattr__`, which imports the module of a name and raises AttributeError for any other
        name, and `__dir__`, which lists these names without an import.
    """
    modules = {name: module for module, listed in names.items() for name in listed}

    def attribute(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        found: object = getattr(import_module(modules[name]), name)
        package[name] = found
        return found

    def directory() -> list[str]:
        return sorted({*package, *modules})

    return attribute, directory
