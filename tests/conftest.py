"""Test settings for all folders, and the fixture that several of them use."""

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests.plugin_package import Install

# Each worker of a parallel run, and each process it starts, computes with one thread: several that
# share a core wait for each other, which made tests with PyTorch take ten times as long.
for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(variable, "1")

# A shell's background turns Ctrl-C off, and tests send it to this process and to those it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The duration of an example depends on the machine more than on the code under test.
settings.register_profile("fedbus", deadline=None)
settings.load_profile("fedbus")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that adds a package to the import path: one module with entry points."""

    def package(name: str, entries: str, source: str) -> None:
        folder = tmp_path / name
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{name}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entries)
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.syspath_prepend(str(folder))

    return package
