"""Calls in processes of their own, which may be killed: forked from one that imports once.

To start Python and import the repository takes a second of processor time, the commands two, and
the first use of each message and command some more: a module's `warm_up`, if it has one, is called
before the first fork.

    python -m tests.repository.forked_calls        reads calls, a JSON list each, from stdin
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class EndedCall:
    """How a call's process ended: its code as `subprocess` states it, and what it wrote."""

    code: int
    stdout: str
    stderr: str


class ForkedCalls:
    """A process that forks one for each call, one call after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, module: str, function: str, *values: str | int) -> EndedCall:
        """Call `module.function(*values)` in a new process and wait for its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([module, function, values]) + "\n")
        self._process.stdin.flush()
        return EndedCall(**json.loads(self._process.stdout.readline()))


@contextmanager
def forked_calls(environ: Mapping[str, str] | None = None) -> Iterator[ForkedCalls]:
    """Start the process that forks, with more environment variables."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.repository.forked_calls"],
        cwd=ROOT,
        env={**os.environ, **(environ or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield ForkedCalls(process)


def serve() -> None:
    """Answer every call of stdin."""
    warm: set[str] = set()
    for line in sys.stdin:
        name, function, values = json.loads(line)
        module = importlib.import_module(name)
        if name not in warm and hasattr(module, "warm_up"):
            module.warm_up()
        warm.add(name)
        ended = fork_and_wait(getattr(module, function), values)
        sys.stdout.write(json.dumps(asdict(ended)) + "\n")
        sys.stdout.flush()


def fork_and_wait(function: Any, values: list[str | int]) -> EndedCall:  # noqa: ANN401 - any function
    """Call a function in a forked process."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        if (child := os.fork()) == 0:
            code = 1
            try:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                function(*values)
                code = 0
            except BaseException:  # noqa: BLE001 - a child must not go on with its parent's code
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        for file in (out, err):
            file.seek(0)
        texts = (file.read().decode(errors="replace") for file in (out, err))
        return EndedCall(os.waitstatus_to_exitcode(status), *texts)


if __name__ == "__main__":
    serve()
