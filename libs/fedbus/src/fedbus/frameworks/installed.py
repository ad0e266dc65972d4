"""Frameworks installed in this environment, found without importing any."""

from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec

from fedbus.distributions import version_of
from fedbus.training.options import FRAMEWORKS


@cache
def is_installed(package: str) -> bool:
    """Return whether a package can be imported."""
    return find_spec(package) is not None


@cache
def versions() -> dict[str, str]:
    """Return the versions of the installed frameworks by their extra, as agents announce them."""
    found = {}
    for framework in FRAMEWORKS.values():
        for package in framework.packages:
            try:
                found[framework.extra] = version_of(package)
            except PackageNotFoundError:
                continue
    return found
