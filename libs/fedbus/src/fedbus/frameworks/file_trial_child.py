"""Child process that runs a model file once: what all kinds of files have in common.

It reads the file from standard input, limits itself (arguments: bytes of memory, seconds of
processor time, seconds in total), and writes one line of JSON: `{"passed": {…}}`, `{"refused":
reason}` or `{"unavailable": reason}`. If native code crashes there is no line, and `file_trial.py`
sees the signal.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from fedbus.errors import FedbusError, PluginError
from fedbus.frameworks.file_trial import MAX_REPORT_BYTES


def serve_trial(
    arguments: list[str],
    load_runtime: Callable[[], object],
    run: Callable[[bytes], Mapping[str, int]],
) -> None:
    """Run the trial, write the report, and end the process.

    Args:
        arguments: Of the command.
        load_runtime: Imports the runtime; it may raise PluginError.
        run: Runs the file; what it returns is in the report, with the peak of memory.
    """
    memory, cpu, wall = map(int, arguments)
    report_line: dict[str, object]
    report = os.dup(1)
    os.dup2(2, 1)  # keeps output of native code out of the report
    _lower_priority()
    try:
        load_runtime()  # before the limits: its memory is not the file's
        file = sys.stdin.buffer.read()
        _limit(memory, cpu, wall)
        report_line = {"passed": {**run(file), "peak_kib": _peak_kib()}}
    except PluginError as error:
        report_line = {"unavailable": str(error)}
    except MemoryError:
        report_line = {"refused": f"it needs more than {memory >> 20} MiB of memory"}
    except FedbusError as error:
        report_line = {"refused": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever a binding raises, it is about this file
        report_line = {"refused": f"{type(error).__name__}: {error}"}
    os.write(report, json.dumps(report_line).encode())
    os._exit(0)  # native destructors may crash as well


def _lower_priority() -> None:
    """Lower this process's priority, prefer it for the OOM killer, and disable core dumps."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        os.nice(10)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _limit(memory: int, cpu: int, wall: int) -> None:
    """Limit memory and time from now on, in addition to what imports have used."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    seconds, size = int(used) + cpu, _virtual() + memory
    limits = {
        # At the hard limit the kernel sends SIGKILL, which others send as well.
        "RLIMIT_CPU": (seconds, seconds + 5),
        "RLIMIT_FSIZE": (MAX_REPORT_BYTES, MAX_REPORT_BYTES),
        "RLIMIT_AS": (size, size),
    }
    for name, most in limits.items():
        with suppress(OSError, ValueError):  # a lower limit is set, or macOS has none
            resource.setrlimit(getattr(resource, name), most)
    signal.alarm(wall)


def _virtual() -> int:
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    except OSError:
        return 1 << 36  # not Linux: no effective limit
    return int(pages) * resource.getpagesize()


def _peak_kib() -> int:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux; includes the parent's memory there
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
