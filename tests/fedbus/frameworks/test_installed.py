"""Frameworks are found without importing them."""

from importlib.util import find_spec

from fedbus.frameworks.installed import is_installed, versions
from fedbus.training.options import FRAMEWORKS


def test_looking_is_not_importing() -> None:
    """A package is looked for on the path only."""
    assert is_installed("numpy") == (find_spec("numpy") is not None)
    assert not is_installed("fedbus_no_such_package")


def test_versions_are_those_of_the_installed_frameworks() -> None:
    """By the name of the extra: Keras comes with TensorFlow."""
    here = {
        framework.extra
        for framework in FRAMEWORKS.values()
        if any(map(is_installed, framework.packages))
    }
    assert versions().keys() == here
