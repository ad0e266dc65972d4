"""Folders of sums: removed with the sum, and those of killed collectors at the next start."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fedbus.runtime.identity import Identity
from fedbus_collector.aggregation import sum_folder
from fedbus_collector.aggregation.sum_folder import SumFolder, remove_left_folders
from fedbus_collector.app import CollectorSettings, build

KEEPS_A_FOLDER = """
import sys
from pathlib import Path
from fedbus_collector.aggregation.sum_folder import SumFolder
folder = SumFolder(Path(sys.argv[1]))
(folder.path / "total").write_bytes(b"a sum")
print(folder.path, flush=True)
sys.stdin.read()
"""


def test_a_starting_collector_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    """And nothing of one that runs in the same place."""
    (tmp_path / "fedbus-sum-file").touch()
    (tmp_path / "other").mkdir()
    running = SumFolder(tmp_path)
    command = [sys.executable, "-c", KEEPS_A_FOLDER, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        remove_left_folders(tmp_path)
        assert (left / "total").read_bytes() == b"a sum"
        process.kill()
    assert left.is_dir()
    build(CollectorSettings(spool=tmp_path), Identity(name="collector.1", incarnation=1))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"fedbus-sum-file", "other", running.path.name}
    running.remove()
    assert not running.path.exists()


def test_a_folder_of_another_user_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who shares the system's temporary folder keeps theirs."""
    folder = tmp_path / "fedbus-sum-other"
    folder.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
        remove_left_folders(tmp_path)
    assert folder.is_dir()
    remove_left_folders(tmp_path)
    assert not folder.exists()


@pytest.mark.parametrize("times", [1, 10])
@pytest.mark.parametrize("locks", [True, False])
def test_a_folder_that_is_removed_before_its_lock_is_made_again(
    times: int, locks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another collector may start at that moment; it does so once, not forever."""
    left, make = [times], tempfile.mkdtemp
    lock = sum_folder.lock_of

    def removed(prefix: str, *, dir: Path) -> str:  # noqa: A002 - as `mkdtemp`
        path = make(prefix=prefix, dir=dir)
        if left[0] and not locks:
            left[0] -= 1
            Path(path).rmdir()
        return path

    def removed_then(path: Path) -> int | None:
        found = lock(path)
        if left[0] and locks:
            left[0] -= 1
            path.rmdir()
        return found

    monkeypatch.setattr(tempfile, "mkdtemp", removed)
    monkeypatch.setattr(sum_folder, "lock_of", removed_then)
    if times > 1:
        with pytest.raises(OSError, match="as soon as they are made"):
            SumFolder(tmp_path)
        assert not list(tmp_path.iterdir())
        return
    folder = SumFolder(tmp_path)
    assert [*tmp_path.iterdir()] == [folder.path]
    folder.remove()
