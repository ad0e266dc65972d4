"""Each system call that changes a disk fails or is the last: nothing half done, nothing lost."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
COMPILER = shutil.which("cc")

pytestmark = pytest.mark.skipif(
    COMPILER is None or sys.platform != "linux", reason="needs Linux's LD_PRELOAD and a C compiler"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library whose calls fail."""
    built = tmp_path_factory.mktemp("library") / "failing_calls.so"
    source = Path(__file__).with_name("failing_calls.c")
    assert COMPILER is not None
    words = [
        COMPILER,
        "-shared",
        "-fPIC",
        "-Wall",
        "-Werror",
        "-o",
        str(built),
        str(source),
        "-ldl",
    ]
    subprocess.run(words, check=True)
    return built


@pytest.mark.parametrize(
    ("task", "error", "tried"),
    [
        ("create", "KILL", (5, 60)),
        ("commit", "ENOSPC", (2, 40)),
        ("commit", "EIO", (3, 40)),
        ("commit", "EROFS", (3, 40)),
        ("commit", "KILL", (2, 40)),
        ("push", "KILL", (5, 40)),
        ("name", "ENOSPC", (3, 20)),
        ("file", "KILL", (3, 20)),
        ("job", "ENOSPC", (5, 40)),
        ("noise", "KILL", (3, 20)),
        ("backup", "ENOSPC", (5, 20)),
        ("backup", "KILL", (5, 20)),
        ("migrate", "ENOSPC", (19, 100)),
        ("restore", "ENOSPC", (19, 100)),
        ("restore", "KILL", (19, 100)),
    ],
)
def test_each_call_that_changes_the_disk_may_fail(
    library: Path, tmp_path: Path, task: str, error: str, tried: tuple[int, int]
) -> None:
    """What was there is whole, the error says where, and the same again succeeds."""
    step, calls = tried
    words = [sys.executable, "-m", "tests.repository.failing_calls", tmp_path, task, error]
    done = subprocess.run(
        [*map(str, words), str(step)],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": str(library), "FEDBUS_STORE": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= calls
