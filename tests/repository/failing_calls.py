"""Every system call that changes a disk fails, or kills the process, one after the other.

`try_each_call` runs in a process with LD_PRELOAD=failing_calls.so. For each call of a task, that is
a change of a store or a command on it: a copy of a store, the task with this call and all later
ones failing (KILL: the process dies), a check of what is there, then the task again, which must
succeed.
"""

import ctypes
import errno
import mmap
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from typer.testing import CliRunner

from fedbus.cli.main import app
from fedbus.errors import StoreError
from fedbus.simulation.oracle import check_records
from fedbus.wire.messages import PromoteVersion
from fedbus_repository.operations.backup_folder import BackupReader
from fedbus_repository.operations.store_check import check_store
from fedbus_repository.stores.sqlite.sqlite_reader import SqliteReader
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.repository.harness import (
    MODEL,
    PRIVATE,
    begin,
    commit_next,
    entry_for,
    load,
    plan_next,
    plan_of,
    push,
    put,
    record_of,
    weights,
)

SHARED = 1


@dataclass(frozen=True, slots=True)
class Task:
    """What is done with a folder that `prepare` has filled, and what must hold after a fault.

    Attributes:
        prepare: Fills a folder.
        act: Does it; raises StoreError if it cannot.
        holds: Raises AssertionError if something is damaged. It gets whether `act` has succeeded.
    """

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    holds: Callable[[Path, bool], None]


def prepare_store(folder: Path) -> None:
    """Make a store with a planned round, outdated weights, a private job and a document."""
    store = SqliteStore(folder / "data", keep=2)
    begin(store)
    for value in (1.0, 2.0):
        commit_next(store, value)
    plan_next(store)
    push(store, 0.25, "other")
    begin(store, "private-1", "other", strategy=PRIVATE)
    plan_next(store, "private-1")
    store.create_document("transformation", "crop", b"{}")
    store.close()


def changing(change: Callable[[SqliteStore], object]) -> Callable[[Path], None]:
    """Return the task of opening a store, changing it, and closing it."""

    def act(folder: Path) -> None:
        store = SqliteStore(folder / "data", keep=2)
        try:
            change(store)
        finally:
            store.close()

    return act


def commit(store: SqliteStore) -> None:
    """Commit the planned round, or get the answer to the first commit."""
    job = load(store)
    if job.rounds == 2:
        assert job.plan is not None
        store.commit(record_of(job.plan), put(store, weights(3.0)))


def attach(store: SqliteStore) -> None:
    """Attach a file to the document."""
    assert store.attach_file("transformation", "crop", put(store, b"a file" * 1000))


def note_noise(store: SqliteStore) -> None:
    """Record an entry of the private job's ledger."""
    job = load(store, "private-1")
    assert job.plan is not None
    store.record_noise(entry_for(job.plan))


CHANGES: dict[str, tuple[Callable[[SqliteStore], object], Callable[[SqliteStore], object]]] = {
    "commit": (commit, lambda store: load(store).rounds == 3),
    "push": (lambda store: push(store, 7.0, "third"), lambda store: len(store.latest()) == 3),
    "job": (
        lambda store: begin(store, "job-9", "third"),
        lambda store: load(store, "job-9").rounds == 0,
    ),
    "plan": (
        lambda store: store.store_plan(2**52, plan_of(load(store), 7)),
        lambda store: load(store).plan == plan_of(load(store), 7),
    ),
    "name": (
        lambda store: store.promote(PromoteVersion(model=MODEL, alias="best", version=2), "user.u"),
        lambda store: store.show(MODEL, None, 0).aliases,  # type: ignore[union-attr] # it exists
    ),
    "file": (attach, lambda store: store.document("transformation", "crop").blob),  # type: ignore[union-attr] # it exists
    "noise": (note_noise, lambda store: store.ledger("private-1")),
    "lease": (
        lambda store: store.take_lease("controller.1", 7),
        lambda store: store.take_lease("controller.2", 8).holder == "controller.1",
    ),
}


def store_holds(done: Callable[[SqliteStore], object]) -> Callable[[Path, bool], None]:
    """Return the check that a store is whole, and that what was answered is in it."""

    def holds(folder: Path, succeeded: bool) -> None:
        assert_intact(folder / "data")
        store = SqliteStore(folder / "data", keep=2)
        try:
            check_records(store)
            assert all(store.holds(blob) for each in store.latest() for blob in each.blobs)
            assert not succeeded or done(store)
            assert not list((folder / "data" / "uploads").iterdir())
        finally:
            store.close()

    return holds


def assert_intact(place: Path) -> None:
    """Check a store or a backup as a whole."""
    backup = (place / "manifest.json").exists()
    reader = BackupReader(place) if backup else SqliteReader(place)
    try:
        assert check_store(reader).damage == []
    finally:
        reader.close()


def command(*words: str) -> Callable[[Path], None]:
    """Return the task of a `fedbus store` command; words that begin with `/` are in the folder."""

    def act(folder: Path) -> None:
        line = [str(folder / word[1:]) if word.startswith("/") else word for word in words]
        result = CliRunner().invoke(app, ["store", *line])
        if result.exit_code == 1 and result.output.startswith("fedbus: "):
            raise StoreError(result.output.replace("\n", " "))
        assert result.exit_code == 0, result.output + repr(result.exception)

    return act


def prepare_backup(folder: Path) -> None:
    """Make a backup, then change the store."""
    prepare_store(folder)
    command("backup", "/data", "/backup")(folder)
    changing(commit)(folder)


def backup_holds(folder: Path, succeeded: bool) -> None:
    """Check that there is a whole backup: the earlier one or the new one."""
    assert_intact(folder / "backup")
    reader = BackupReader(folder / "backup")
    assert reader.manifest is not None
    versions = reader.manifest.counts["version"]
    assert versions == 5 or (versions == 4 and not succeeded), versions


def copy_holds(source: str) -> Callable[[Path, bool], None]:
    """Return the check of a copy: its source is whole, and a repository uses only a whole copy."""

    def holds(folder: Path, succeeded: bool) -> None:
        assert_intact(folder / source)
        target = folder / "target"
        if (target / "repository.db").exists():
            assert_intact(target)
        else:
            assert not succeeded
            if (target / "copied-from").exists():
                try:
                    SqliteStore(target)
                except StoreError:
                    return
                raise AssertionError("a repository began on an unfinished copy")

    return holds


TASKS: dict[str, Task] = {
    name: Task(prepare_store, changing(change), store_holds(done))
    for name, (change, done) in CHANGES.items()
} | {
    "create": Task(
        lambda folder: (folder / "data").mkdir(),
        changing(lambda _: None),
        lambda folder, done: assert_intact(folder / "data") if done else None,
    ),
    "backup": Task(prepare_backup, command("backup", "/data", "/backup"), backup_holds),
    "migrate": Task(prepare_store, command("migrate", "/data", "/target"), copy_holds("data")),
    "restore": Task(
        prepare_backup,
        command("restore", "/backup", "/target", "--ledgers-complete"),
        copy_holds("backup"),
    ),
}


def warm_up() -> None:
    """Use every command and kind of record once, so that each forked process has them ready."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare_backup(folder)
        for task in (TASKS["backup"], TASKS["migrate"]):
            task.act(folder)
            task.holds(folder, True)


def killed(act: Callable[[], object]) -> bool:
    """Run in a child process, which may be killed; return whether it was."""
    done = mmap.mmap(-1, SHARED)
    if (child := os.fork()) == 0:
        code = 1
        try:
            act()
            done[0] = 1
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert not done[0]
        return True
    assert status == 0, status
    return False


def try_each_call(in_folder: str, name: str, error: str, step: int) -> None:
    """Make each `step`-th call of a task fail with an error, such as ENOSPC; print the last one."""
    folder = Path(in_folder)
    library = ctypes.CDLL(os.environ["LD_PRELOAD"])
    library.fail_after.argtypes = (ctypes.c_long, ctypes.c_int)
    task, number = TASKS[name], 0 if error == "KILL" else getattr(errno, error)
    template = folder / "template"
    template.mkdir()
    task.prepare(template)

    def act(place: Path, calls: int) -> bool:
        """Do it with failing calls; return whether it succeeded."""
        library.fail_after(calls, number)
        try:
            task.act(place)
        except StoreError as fault:
            if str(folder) not in str(fault) and "TMPDIR" not in str(fault):
                raise AssertionError(f"it does not say where: {fault}") from fault
            return False
        finally:
            library.fail_after(-1, 0)
        return True

    for calls in count(0, step):
        place = folder / str(calls)
        shutil.copytree(template, place)
        try:
            if number:
                succeeded = act(place, calls)
                over = succeeded and library.calls_taken_before() <= calls
            else:
                over = not killed(partial(act, place, calls))
                succeeded = over
            task.holds(place, succeeded)
            if over:
                break
            again = act(place, -1)
            assert again or (place / "target" / "repository.db").exists()
            task.holds(place, True)
        except BaseException as fault:
            fault.add_note(f"call {calls} of {name} with {error}, in {place}")
            raise
        shutil.rmtree(place)
    sys.stdout.write(f"{calls}\n")
