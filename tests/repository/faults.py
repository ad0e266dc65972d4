"""Disks that fail at a chosen step, and a repository that dies there."""

import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STEPS = ("reserve", "write", "sync", "rename", "sync_folder", "insert", "unlink")
"""Every step the embedded store takes on its disk."""


class Disk:
    """Fails once at a step, after some others went well."""

    def __init__(self, step: str = "", after: int = 0, number: int = errno.ENOSPC) -> None:
        self.step, self.left, self.number = step, after, number

    def __call__(self, step: str) -> None:
        """Take a step."""
        if step == self.step:
            self.left -= 1
            if self.left < 0:
                self.step = ""
                raise OSError(self.number, os.strerror(self.number))


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """Limit every file to `size` bytes, so that the kernel's own errors occur anywhere."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


@contextmanager
def locked_by_another_process(path: Path) -> Iterator[None]:
    """Lock a store's folder as a repository does: a process never conflicts with its own lock."""
    program = (
        "import fcntl, sys; file = open(sys.argv[1], 'a'); fcntl.lockf(file, fcntl.LOCK_EX);"
        " print('locked', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-I", "-S", "-c", program, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        yield
        other.kill()


def killing_at(step: str, after: int) -> Callable[[str], None]:
    """Kill this process with -9 at a step, after some others went well."""
    left = after

    def at(taken: str) -> None:
        nonlocal left
        if taken == step:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return at


def warm_up() -> None:
    """Commit a round once, so that each forked process has messages and records ready."""
    from fedbus_repository.stores.sqlite.store import SqliteStore
    from tests.repository.harness import PRIVATE, begin, commit_private, commit_state

    for strategy, commit in ((None, commit_state), (PRIVATE, commit_private)):
        with tempfile.TemporaryDirectory() as name:
            store = SqliteStore(Path(name), durable=False)
            begin(store, strategy=strategy)
            commit(store, 1.0)
            store.close()


def die_while_committing(folder: str, step: str, after: int) -> None:
    """Commit round after round of a strategy with a state, and be killed with -9 at a step."""
    from fedbus_repository.stores.sqlite.store import SqliteStore
    from tests.repository.harness import commit_state

    store = SqliteStore(Path(folder), keep=3, on_step=killing_at(step, after))
    for number in range(1, 100):
        done = commit_state(store, float(number))
        print(done.version.version, flush=True)  # noqa: T201 - the test reads it


def die_in_a_private_round(folder: str, step: str, after: int) -> None:
    """Commit private rounds, say which entry was answered, and be killed with -9 at a step."""
    from fedbus_repository.stores.sqlite.store import SqliteStore
    from tests.repository.harness import PRIVATE, entry_for, plan_next, put, record_of, weights

    store = SqliteStore(Path(folder), keep=3, on_step=killing_at(step, after))
    for number in range(1, 100):
        plan = plan_next(store)
        noise: Any = store.record_noise(entry_for(plan))
        print(plan.task, flush=True)  # noqa: T201 - the test reads it
        record = record_of(plan, strategy=PRIVATE, privacy=noise.spent)
        store.commit(record, put(store, weights(float(number))))
