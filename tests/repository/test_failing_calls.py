"""Each system call that changes a disk fails or is the last: nothing half done, nothing lost."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repository.forked_calls import ForkedCalls, forked_calls

COMPILER = shutil.which("cc")

pytestmark = pytest.mark.skipif(
    COMPILER is None or sys.platform != "linux", reason="needs Linux's LD_PRELOAD and a C compiler"
)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedCalls]:
    """Processes whose system calls can be made to fail."""
    built = tmp_path_factory.mktemp("library") / "failing_calls.so"
    source = Path(__file__).with_name("failing_calls.c")
    assert COMPILER is not None
    options = ["-shared", "-fPIC", "-Wall", "-Werror"]
    subprocess.run([COMPILER, *options, "-o", built, source, "-ldl"], check=True)
    with forked_calls({"LD_PRELOAD": str(built), "FEDBUS_STORE": ""}) as calls:
        yield calls


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
        ("migrate", "KILL", (29, 100)),
        ("restore", "ENOSPC", (19, 100)),
        ("restore", "KILL", (19, 100)),
    ],
)
def test_each_call_that_changes_the_disk_may_fail(
    calls: ForkedCalls, tmp_path: Path, task: str, error: str, tried: tuple[int, int]
) -> None:
    """What was there is whole, the error says where, and the same again succeeds."""
    step, expected = tried
    module, function = "tests.repository.failing_calls", "try_each_call"
    done = calls.run(module, function, str(tmp_path), task, error, step)
    assert done.code == 0, done.stderr
    assert int(done.stdout) >= expected
