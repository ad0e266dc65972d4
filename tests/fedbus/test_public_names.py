"""Public names of `import fedbus`."""

import subprocess
import sys

import fedbus


def test_the_public_names_are_listed() -> None:
    """An editor completes them, and `dir(fedbus)` shows them, before any is loaded."""
    script = "import sys, fedbus; print(*dir(fedbus)); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    listed, loaded = map(str.split, done.stdout.splitlines())
    assert set(fedbus.__all__) <= set(listed)
    assert not {"numpy", "pydantic", "fedbus.data", "fedbus.plugins"} & set(loaded)


def test_every_name_that_is_listed_is_there() -> None:
    """Each is found in the module that has it."""
    assert [name for name in fedbus.__all__ if getattr(fedbus, name, None) is None] == []
