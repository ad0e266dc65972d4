"""Starts services quickly: a process that has imported everything once, and forks for each.

To start Python and import a service takes a second of processor time, and a house has seven: most
of what a fault test would do is start. A process forked from here is as real as any other: it has
its own memory, sockets, threads and end. (`fedbus up` is tested with processes started afresh.)

    python -m tests.system.nursery         reads requests, a JSON line each, from a pipe

All of them die with the nursery, and the nursery with whoever started it.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from fedbus.cluster.die_with_parent import PR_SET_PDEATHSIG
from fedbus.cluster.process import die_with_parent_prefix

ROOT = Path(__file__).parents[2]
IMPORTED = (
    "fedbus_collector.app",
    "fedbus_controller.app",
    "fedbus_edge_agent.app",
    "fedbus_edge_agent.training.simulated",
    "fedbus_repository.app",
    "fedbus.strategies.aggregation",
    "fedbus.strategies.selection",
)


class Child:
    """A process that was forked."""

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        self.pid = pid
        self._nursery = nursery
        self._code: int | None = None

    def poll(self) -> int | None:
        """How it ended, as `subprocess` says it; None while it runs."""
        if self._code is None:
            self._code = self._nursery.ask({"poll": self.pid})
        return self._code

    def signal(self, number: signal.Signals) -> None:
        """Tell it something, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def reap(self) -> None:
        """Kill it, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        if self._code is None:
            self._code = self._nursery.ask({"wait": self.pid})


class Nursery:
    """The tests' end of the pipe."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [*die_with_parent_prefix(), sys.executable, "-m", "tests.system.nursery"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )

    def fork(
        self, module: str, environ: dict[str, str], log: Path, arguments: Sequence[str] = ()
    ) -> Child:
        """Start a module as `python -m` does; what it says is appended to its log."""
        what = {"module": module, "arguments": list(arguments)}
        pid = self.ask({**what, "environ": environ, "log": str(log)})
        assert pid is not None
        return Child(self, pid)

    def ask(self, request: dict[str, Any]) -> int | None:
        """Have something done; returns a number or nothing."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer: int | None = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End it, and all that are left."""
        self._process.communicate()


@cache
def nursery() -> Nursery:
    """Start the one nursery of this test run; it ends with it."""
    started = Nursery()
    atexit.register(started.close)
    return started


def serve(requests: IO[bytes], answers: IO[bytes]) -> dict[str, Any] | None:
    """Answer requests until there are no more; in a forked child, return what it is to be."""
    for line in requests:
        request = json.loads(line)
        answer: int | None
        match request:
            case {"poll": pid}:
                found, status = os.waitpid(pid, os.WNOHANG)
                answer = os.waitstatus_to_exitcode(status) if found else None
            case {"wait": pid}:
                answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            case _:
                answer = os.fork()
                if answer == 0:
                    return dict(request)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()
    return None


def become(request: dict[str, Any], parent: int) -> None:
    """Be the service that was asked for."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we could say so
        sys.exit(1)
    os.setpgid(0, 0)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for into, of in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(into, of)
    os.close(log)
    os.close(nothing)
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv[1:] = request["arguments"]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def main() -> None:
    """Import, then fork whatever is asked for."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # or the first collection of each child would copy all of it
    own = os.getpid()
    request = serve(sys.stdin.buffer, sys.stdout.buffer)
    if request is not None:
        become(request, own)


if __name__ == "__main__":
    main()
