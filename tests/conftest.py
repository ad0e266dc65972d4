"""Settings of the tools that all tests share, and what more than one folder needs."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests.packages import Install

# Each worker of a parallel run, and each process it starts, computes with one thread: several that
# share a core wait for each other, which made tests with PyTorch take ten times as long.
for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(variable, "1")

# How long an example takes says more about the machine than about what is tried.
settings.register_profile("fedbus", deadline=None)
settings.load_profile("fedbus")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put packages on the path: a module, and the entry points that name what is in it."""

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
