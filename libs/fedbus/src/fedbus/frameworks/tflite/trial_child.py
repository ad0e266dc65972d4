"""Child process that runs a `.tflite` file once; started with `python -m` by `trial.py`.

It reads the file from standard input, limits itself (arguments: bytes of memory, seconds of
processor time, seconds in total), and writes one line of JSON: `{"passed": {…}}`, `{"refused":
reason}` or `{"unavailable": reason}`. If native code crashes there is no line, and `trial.py` sees
the signal.
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
from fedbus.frameworks.tflite.file import (
    Signature,
    find_interpreter,
    new_interpreter,
    signatures_of,
)
from fedbus.frameworks.tflite.trial import MAX_REPORT_BYTES
from fedbus.model.layout import Array

BATCHES: Final = (1, 2)
"""Rows in the open dimension of inputs: tensors are resized for the second value."""


def main(arguments: list[str]) -> None:
    """Run the trial and write the report."""
    memory, cpu, wall = map(int, arguments)
    report_line: dict[str, object]
    report = os.dup(1)
    os.dup2(2, 1)  # keeps output of native code out of the report
    _lower_priority()
    try:
        find_interpreter()  # before the limits: its memory is not the file's
        file = sys.stdin.buffer.read()
        _limit(memory, cpu, wall)
        report_line = {"passed": try_signatures(file)}
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


def try_signatures(file: bytes) -> dict[str, int]:
    """Run every signature on zeros, with one row and with two; setters get what getters return.

    Raises:
        FedbusError: The file cannot be opened, or a signature fails; the message names it.
    """
    interpreter = new_interpreter(file)
    signatures = signatures_of(interpreter)
    if not signatures:
        _run_main(interpreter)
    for name in sorted(signatures, key=_order):
        for inputs in _zeros(signatures, name):
            try:
                signatures[name](**inputs)
            except (ValueError, RuntimeError) as error:
                shapes = {key: np.shape(value) for key, value in inputs.items()}
                # ai-edge-litert reports a failed allocation as an error without text.
                why = str(error) or "the runtime names no reason, as when its memory runs out"
                raise TrainingError(
                    f"the signature {name!r} fails on zeros of {shapes}: {why}"
                ) from error
    return {"signatures": len(signatures), "peak_kib": _peak_kib()}


def _run_main(interpreter: Any) -> None:  # noqa: ANN401 - a class without types
    """Run the first subgraph of a file without signatures on zeros, with one row and with two."""
    details = interpreter.get_input_details()
    is_open = any(-1 in about["shape_signature"] for about in details)
    for rows in BATCHES if is_open else BATCHES[:1]:
        inputs = {about["index"]: _zero(about, rows) for about in details}
        try:
            for index, array in inputs.items():
                interpreter.resize_tensor_input(index, array.shape)
            interpreter.allocate_tensors()
            for index, array in inputs.items():
                interpreter.set_tensor(index, array)
            interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            shapes = [array.shape for array in inputs.values()]
            why = str(error) or "the runtime names no reason, as when its memory runs out"
            raise TrainingError(f"it fails on zeros of {shapes}: {why}") from error


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


if __name__ == "__main__":
    main(sys.argv[1:])
