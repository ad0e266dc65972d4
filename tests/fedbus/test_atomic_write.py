"""Files that are replaced whole or not at all: on a full disk, and where the writer is killed."""

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fedbus.atomic_write import PRIVATE, atomic_write, open_atomic, sync_folder, temporary_path

OLD, NEW = b"old", b"new" * 4000
WRITER = """
import sys
from pathlib import Path
from fedbus.atomic_write import open_atomic
with open_atomic(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("half", flush=True)
    sys.stdin.read()
"""
PROC = pytest.mark.skipif(not Path("/proc/1/status").exists(), reason="only Linux has /proc")


@contextmanager
def little_room() -> Iterator[None]:
    """Limit files to 4 KiB, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    quiet = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, quiet)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Write the old file, in a folder where nothing else is."""
    (tmp_path / "file").write_bytes(OLD)
    return tmp_path / "file"


@pytest.mark.parametrize("options", [{}, {"shared": True}, {"durable": True}, {"mode": PRIVATE}])
def test_a_file_is_replaced_and_nothing_lies_beside_it(path: Path, options: Any) -> None:  # noqa: ANN401 - any of them
    """Under each option, whether the file was there before or not."""
    for each in (path, path.with_name("another")):
        atomic_write(each, NEW, **options)
        assert each.read_bytes() == NEW
    assert sorted(each.name for each in path.parent.iterdir()) == ["another", "file"]


def test_the_old_content_is_read_until_the_new_one_is_complete(path: Path) -> None:
    """Every process that opens it meanwhile."""
    with open_atomic(path) as file:
        file.write(NEW)
        file.flush()
        assert path.read_bytes() == OLD
    assert path.read_bytes() == NEW


def test_a_full_disk_costs_neither_the_old_file_nor_room(path: Path) -> None:
    """The next write that fits is done as if nothing had been."""
    with little_room(), pytest.raises(OSError, match="File too large"):
        atomic_write(path, NEW)
    assert path.read_bytes() == OLD
    assert list(path.parent.iterdir()) == [path]
    atomic_write(path, NEW)
    assert path.read_bytes() == NEW


@PROC
def test_a_folder_that_takes_no_files_leaves_the_error_as_it_is() -> None:
    """The kernel's own: root cannot write there either."""
    with pytest.raises(OSError, match=r"/proc/1/\.status\.new"):
        atomic_write(Path("/proc/1/status"), NEW)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_in_the_block_leaves_the_old_file(
    path: Path, error: type[BaseException]
) -> None:
    """Ctrl-C as well."""
    with pytest.raises(error), open_atomic(path) as file:  # noqa: PT012 - the block is what is tested
        file.write(NEW)
        raise error
    assert path.read_bytes() == OLD
    assert list(path.parent.iterdir()) == [path]


def test_a_killed_writer_leaves_the_old_file_and_the_next_one_clears_up(path: Path) -> None:
    """With -9 in the middle of the content: what it leaves is hidden, and written over."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        writer.kill()
    assert path.read_bytes() == OLD
    assert temporary_path(path).read_bytes() == b"half"
    atomic_write(path, NEW)
    assert path.read_bytes() == NEW
    assert list(path.parent.iterdir()) == [path]


def test_a_private_file_is_private_from_its_first_byte(path: Path) -> None:
    """Where the old one could be read by anyone, and where a link stands in its place."""
    path.chmod(0o644)
    elsewhere = path.with_name("elsewhere")
    temporary_path(path).symlink_to(elsewhere)
    with open_atomic(path, mode=PRIVATE) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == PRIVATE
        file.write(NEW)
    assert stat.S_IMODE(path.stat().st_mode) == PRIVATE
    assert not elsewhere.exists()


def test_two_processes_that_write_one_file_do_not_mix_their_content(path: Path) -> None:
    """Each has a file of its own until it is done; the last one wins."""
    program = WRITER.replace("argv[1])", "argv[1]), shared=True").replace('b"half"', 'b"theirs"')
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        atomic_write(path, NEW, shared=True)
        assert path.read_bytes() == NEW
        writer.communicate()
        assert writer.returncode == 0
    assert path.read_bytes() == b"theirs"
    assert list(path.parent.iterdir()) == [path]


@PROC
def test_a_durable_file_is_synced_before_its_name_and_its_folder_after_it(path: Path) -> None:
    """Seen from outside, as system calls of another process."""
    program = (
        "import os, sys; from pathlib import Path; from fedbus.atomic_write import atomic_write\n"
        "sync = os.fsync\n"
        "def told(fd):\n"
        "    print('fsync', os.readlink(f'/proc/self/fd/{fd}')); sync(fd)\n"
        "os.fsync = told\n"
        "sys.addaudithook(lambda e, a: print(e, a[0]) if e == 'os.rename' else None)\n"
        "atomic_write(Path(sys.argv[1]), b'new', durable=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
    )
    new = temporary_path(path)
    seen = done.stdout.splitlines()
    assert seen == [f"fsync {new}", f"os.rename {new}", f"fsync {path.parent}"]


def test_a_folder_that_is_gone_cannot_be_synced(tmp_path: Path) -> None:
    """It is no success."""
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "gone")
