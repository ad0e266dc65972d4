"""Fork server: a process that has imported the services once, and forks to start one.

To start Python and import a service takes a second of processor time, and a cluster has seven: a
fault test would spend most of its time on starts. A forked process is as real as any other: it has
its own memory, sockets, threads and exit code. (`fedbus up` is tested without the fork server.)

    python -m tests.system.fork_server         reads requests, a JSON line each, from stdin

Forked processes die with the fork server, and the fork server dies with the test run.
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
    "benchmarks.simulated_trainer",
    "fedbus_repository.app",
    "fedbus.strategies.aggregation.mean",
    "fedbus.strategies.selection",
)


class ForkedProcess:
    """A process that was forked."""

    def __init__(self, fork_server: "ForkServer", pid: int) -> None:
        self.pid = pid
        self._nursery = fork_server
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, as `subprocess` does; None while it runs."""
        if self._code is None:
            self._code = self._nursery.request({"poll": self.pid})
        return self._code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def reap(self) -> None:
        """Kill the process, and wait for its end."""
        self.signal(signal.SIGKILL)
        if self._code is None:
            self._code = self._nursery.request({"wait": self.pid})


class ForkServer:
    """The client side of the fork server, in the test run."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [*die_with_parent_prefix(), sys.executable, "-m", "tests.system.fork_server"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )

    def fork(
        self, module: str, environ: dict[str, str], log: Path, arguments: Sequence[str] = ()
    ) -> ForkedProcess:
        """Start a module as `python -m` does; append its output to a log."""
        what = {"module": module, "arguments": list(arguments)}
        pid = self.request({**what, "environ": environ, "log": str(log)})
        assert pid is not None
        return ForkedProcess(self, pid)

    def request(self, request: dict[str, Any]) -> int | None:
        """Send a request; return the process id, the exit code or None."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer: int | None = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the fork server and all forked processes."""
        self._process.communicate()


@cache
def fork_server() -> ForkServer:
    """Start the fork server of this test run; it ends with the run."""
    started = ForkServer()
    atexit.register(started.close)
    return started


def serve(requests: IO[bytes], answers: IO[bytes]) -> dict[str, Any] | None:
    """Answer requests until stdin is closed; in a forked process, return its request."""
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


def run_module(request: dict[str, Any], parent: int) -> None:
    """Run the requested module in this forked process."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before prctl took effect
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
    """Import the services, then fork a process for each request."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # or the first collection of each forked process would copy all of it
    own = os.getpid()
    request = serve(sys.stdin.buffer, sys.stdout.buffer)
    if request is not None:
        run_module(request, own)


if __name__ == "__main__":
    main()
