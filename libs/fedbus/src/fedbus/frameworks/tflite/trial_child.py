"""Run a `.tflite` file once, as a process of its own, `python -m` this module.

It reads the file from standard input, takes limits upon itself (arguments: bytes of memory, seconds
of processor time, seconds in all), and writes one line of JSON: `{"passed": {…}}`, `{"refused":
why}` or `{"unavailable": why}`. If native code dies of the file, there is no line:
`tflite_trial.py`, which starts this, sees by which signal it ended.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from fedbus.errors import FedbusError, PluginError, TrainingError
from fedbus.frameworks.tflite.file import Signature, find_interpreter, open_file
from fedbus.frameworks.tflite.trial import MAX_REPORT_BYTES
from fedbus.model.layout import Array

BATCHES: Final = (1, 2)
"""Rows in the open dimension of inputs: tensors are sized anew for the second."""


def main(arguments: list[str]) -> None:
    """Be the child."""
    memory, cpu, wall = map(int, arguments)
    told: dict[str, object]
    report = os.dup(1)
    os.dup2(2, 1)  # what native code prints is no report
    _be_modest()
    try:
        find_interpreter()  # what it takes is no fault of the file
        file = sys.stdin.buffer.read()
        _limit(memory, cpu, wall)
        told = {"passed": try_signatures(file)}
    except PluginError as error:
        told = {"unavailable": str(error)}
    except MemoryError:
        told = {"refused": f"it needs more than {memory >> 20} MiB of memory"}
    except FedbusError as error:
        told = {"refused": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever a binding raises, it is about this file
        told = {"refused": f"{type(error).__name__}: {error}"}
    os.write(report, json.dumps(told).encode())
    os._exit(0)  # native destructors may die of it as well


def try_signatures(file: bytes) -> dict[str, int]:
    """Run every signature on zeros, with one row and with two; weights are given back as they came.

    Raises:
        FedbusError: it cannot be opened, or a signature fails; the sentence names it.
    """
    signatures = open_file(file)
    for name in sorted(signatures, key=_order):
        for inputs in _zeros(signatures, name):
            try:
                signatures[name](**inputs)
            except (ValueError, RuntimeError) as error:
                shapes = {key: np.shape(value) for key, value in inputs.items()}
                # ai-edge-litert reports memory that it was refused as an error without a text.
                why = str(error) or "the runtime names no reason, as when its memory runs out"
                raise TrainingError(
                    f"the signature {name!r} fails on zeros of {shapes}: {why}"
                ) from error
    return {"signatures": len(signatures), "peak_kib": _peak_kib()}


def _order(name: str) -> tuple[bool, str]:
    return not name.startswith("get_"), name


def _zeros(signatures: Mapping[str, Signature], name: str) -> Iterator[dict[str, Array]]:
    getter = signatures.get(name.replace("set_", "get_", 1)) if name.startswith("set_") else None
    details = signatures[name].get_input_details()
    if getter is not None:
        given = {key: np.asarray(value) for key, value in getter().items()}
        yield {key: given.get(key, _zero(about, 1)) for key, about in details.items()}
        return
    is_open = any(-1 in about["shape_signature"] for about in details.values())
    for rows in BATCHES if is_open else BATCHES[:1]:
        yield {key: _zero(about, rows) for key, about in details.items()}


def _zero(about: Mapping[str, Any], rows: int) -> Array:
    signature = about["shape_signature"]
    lengths = signature if len(signature) else about["shape"]
    return np.zeros([rows if length == -1 else int(length) for length in lengths], about["dtype"])


def _be_modest() -> None:
    """Let all others go first, and be the first to go when memory runs out; leave no core."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        os.nice(10)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _limit(memory: int, cpu: int, wall: int) -> None:
    """Bound what comes from now on: what importing took is given beside it."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    seconds, size = int(used) + cpu, _virtual() + memory
    limits = {
        # At the second one the kernel kills by a signal that others send as well.
        "RLIMIT_CPU": (seconds, seconds + 5),
        "RLIMIT_FSIZE": (MAX_REPORT_BYTES, MAX_REPORT_BYTES),
        "RLIMIT_AS": (size, size),
    }
    for name, most in limits.items():
        with suppress(OSError, ValueError):  # a lower one is set already, or macOS has none
            resource.setrlimit(getattr(resource, name), most)
    signal.alarm(wall)


def _virtual() -> int:
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    except OSError:
        return 1 << 36  # not Linux: no limit that would hold
    return int(pages) * resource.getpagesize()


def _peak_kib() -> int:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux; there it counts what the parent had as well
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


if __name__ == "__main__":
    main(sys.argv[1:])
