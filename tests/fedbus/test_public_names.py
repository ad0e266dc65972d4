"""Public names of `import fedbus`."""

import subprocess
import sys
from types import ModuleType

import pytest

import fedbus
from fedbus import client


def test_the_public_names_are_listed() -> None:
    """An editor completes them, and `dir(fedbus)` shows them, before any is loaded."""
    script = "import sys, fedbus; print(*dir(fedbus)); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    listed, loaded = map(str.split, done.stdout.splitlines())
    assert set(fedbus.__all__) <= set(listed)
    assert not {"numpy", "pydantic", "fedbus.data", "fedbus.plugins"} & set(loaded)


@pytest.mark.parametrize("package", [fedbus, client], ids=lambda package: package.__name__)
def test_every_name_that_is_listed_is_there(package: ModuleType) -> None:
    """Each is found in the module that has it, which is imported only when the name is used."""
    assert [name for name in package.__all__ if getattr(package, name, None) is None] == []
