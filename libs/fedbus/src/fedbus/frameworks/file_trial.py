"""Trial run of a model file in a child process with limits, before this process opens it.

Whether a runtime's native code accepts a verified file is known only by running it. If the child
crashes, hangs or exceeds its limits, only the child ends. `file_trial_child` is its side.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Any, Final

from fedbus.errors import PluginError, TrainingError

BASE_BYTES: Final = 256 * 2**20
"""Address space for the runtime and stacks, in addition to the file and its tensors."""
MAX_TRIAL_BYTES: Final = 8 * 2**30
MAX_REPORT_BYTES: Final = 2**20
"""The child's report; also the largest file that the child can write."""
CPU_SECONDS: Final = 60
WALL_SECONDS: Final = 120
START_SECONDS: Final = 180
"""Time to load Python and the runtime: TensorFlow takes long on a small device."""
_PASSED_ON: Final = (
    "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH", "SYSTEMROOT",
    "TMPDIR", "VIRTUAL_ENV",
)  # fmt: skip
"""Environment variables that the child gets; it gets no passwords or other settings."""


class FileCrash(TrainingError):  # noqa: N818 - what the file did
    """A file crashed the process that opened it."""


class TrialNotRun(TrainingError):  # noqa: N818 - nothing is known of the file
    """The child could not be started or was killed from outside: the file may be valid."""


@dataclass(frozen=True, slots=True)
class TrialLimits:
    """Limits of a child process."""

    cpu_seconds: int = CPU_SECONDS
    wall_seconds: int = WALL_SECONDS
    base_bytes: int = BASE_BYTES


def run_trial(
    child: str, kind: str, data: bytes, tensor_bytes: int, limits: TrialLimits | None = None
) -> None:
    """Run a verified file once, in a child.

    Args:
        child: The module of the child.
        kind: Of file, for sentences: `.tflite`.
        data: The file.
        tensor_bytes: Size of its tensors with a batch of 1.
        limits: Of the child, beside a limit of memory.

    Raises:
        PluginError: no runtime is installed.
        FileCrash: the child died of the file, by a signal, or computed without end.
        TrialNotRun: no child could be started, or it was ended from outside.
        TrainingError: the runtime refuses the file, or it fails; the sentence names the reason.
    """
    limits = limits or TrialLimits()
    memory = min(MAX_TRIAL_BYTES, limits.base_bytes + 4 * len(data) + 4 * tensor_bytes)
    child_report = _run(child, kind, data, memory, limits)
    match child_report:
        case {"passed": _}:
            return
        case {"refused": str(reason)}:
            raise TrainingError(f"the {kind} file does not run: {reason}")
        case {"unavailable": str(reason)}:
            raise PluginError(reason)
        case _:
            raise FileCrash(f"the child that opened the {kind} file gave no report")


def _run(child: str, kind: str, data: bytes, memory: int, limits: TrialLimits) -> Any:  # noqa: ANN401 - what JSON holds
    numbers = (memory, limits.cpu_seconds, limits.wall_seconds)
    command = [sys.executable, "-P", "-m", child, *map(str, numbers)]
    with tempfile.TemporaryFile() as report:
        try:
            done = subprocess.run(  # noqa: S603 - our own module, with numbers
                command,
                input=data,
                stdout=report,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_environment(),
                timeout=START_SECONDS + limits.wall_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            why = f"it took more than {error.timeout:.0f} s"
            raise TrialNotRun(_not_tried(kind, why)) from error
        except (OSError, ValueError) as error:
            raise TrialNotRun(_not_tried(kind, str(error))) from error
        if done.returncode < 0:
            raise _error_for(kind, -done.returncode, memory, limits)
        report.seek(0)
        try:
            return json.loads(report.read(MAX_REPORT_BYTES))
        except ValueError as error:
            code = f"the child ended with exit code {done.returncode} and no report"
            raise TrialNotRun(_not_tried(kind, code)) from error


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**kept, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}


def _not_tried(kind: str, why: str) -> str:
    return f"the {kind} file could not be tried: {why}"


def _error_for(kind: str, number: int, memory: int, limits: TrialLimits) -> TrainingError:
    """Return the error for a signal; some also mean that the machine lacks memory or time."""
    died = f"the {kind} file kills the process that opens it: a child of this one "
    match number:
        case signal.SIGALRM:
            return TrialNotRun(_not_tried(kind, f"it was not done after {limits.wall_seconds} s"))
        case signal.SIGKILL | signal.SIGTERM | signal.SIGINT | signal.SIGHUP:
            name = signal.Signals(number).name
            return TrialNotRun(
                _not_tried(kind, f"the child was ended by {name}, as when memory runs out")
            )
        case signal.SIGXCPU:
            return FileCrash(f"{died}computed for more than {limits.cpu_seconds} s")
        case _:
            name = signal.Signals(number).name
            return FileCrash(f"{died}was ended by {name}; it had {memory >> 20} MiB")
