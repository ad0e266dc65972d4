"""A `.tflite` file, run once in a child process."""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus import demo_data
from fedbus.errors import PluginError, TrainingError
from fedbus.frameworks import file_trial
from fedbus.frameworks.file_trial import FileCrash, TrialLimits, TrialNotRun
from fedbus.frameworks.tflite import trial, trial_child
from fedbus.frameworks.tflite.flatbuffer_schema import IDENTIFIER, SCHEMA, UNIONS
from fedbus.frameworks.tflite.trial import try_file
from fedbus.frameworks.tflite.verify import verify
from fedbus.model.layout import Array
from tests.fedbus.frameworks.tflite.flatbuffer_writer import Writer

DIGITS = demo_data.read("digits.tflite")
FACTS = verify(DIGITS)
RUNTIMES = ("tflite_runtime", "ai_edge_litert", "tensorflow")
needs_runtime = pytest.mark.skipif(not any(map(find_spec, RUNTIMES)), reason="no TFLite runtime")


@needs_runtime
def test_a_good_file_passes() -> None:
    """Every signature of it, in a process that knows none of our settings."""
    try_file(DIGITS, FACTS)


@needs_runtime
def test_a_file_that_the_runtime_refuses_is_told_with_its_reason() -> None:
    """An operator of a version that is not there, say."""
    with pytest.raises(TrainingError, match=r"the \.tflite file does not run: "):
        try_file(b"no file", FACTS)


def crafted(codes: Sequence[int], graphs: Sequence[dict[str, Any]], *buffers: bytes) -> bytes:
    """Write a file of operators, subgraphs and constants; the first subgraph is its signature."""
    [taken], [given] = graphs[0]["inputs"], graphs[0]["outputs"]
    signature = {
        "signature_key": "run",
        "inputs": [{"name": "x", "tensor_index": taken}],
        "outputs": [{"name": "y", "tensor_index": given}],
    }
    model = {
        "version": 3,
        "operator_codes": [
            {"deprecated_builtin_code": code, "builtin_code": code, "version": 1} for code in codes
        ],
        "subgraphs": graphs,
        "buffers": [{}, *({"data": data} for data in buffers)],
        "signature_defs": [signature],
    }
    return Writer(SCHEMA, UNIONS).root(IDENTIFIER, "model", model)


ADD, FILL, WHILE = 0, 94, 119
ROW = {"shape": [1, 2], "name": "row"}


def endless() -> bytes:
    """Write a loop whose condition is a constant: yes."""
    loop = {"callee_0": 1, "callee_1": 2}
    loops = {"opcode_index": 1, "inputs": [0], "outputs": [1], "builtin_options_type": 93}
    adds = {"inputs": [0, 1], "outputs": [2], "builtin_options_type": 11, "builtin_options": {}}
    yes = {"shape": [1], "type": 6, "buffer": 1, "name": "yes"}
    zero = {"shape": [2], "buffer": 2, "name": "zero"}
    graphs: list[dict[str, Any]] = [
        {"tensors": [ROW, ROW], "operators": [{**loops, "builtin_options": loop}], "outputs": [1]},
        {"tensors": [ROW, yes], "outputs": [1]},
        {"tensors": [ROW, zero, ROW], "operators": [adds], "outputs": [2]},
    ]
    return crafted([ADD, WHILE], [{**graph, "inputs": [0]} for graph in graphs], b"\1", bytes(8))


def filling(side: int) -> bytes:
    """Write a file that makes a square of its input: how large, only running it tells."""
    tensors = [
        {"shape": [2], "type": 2, "buffer": 1, "name": "sides"},
        {"shape": [], "name": "x"},
        {"shape": [1], "name": "y"},
    ]
    fills = {"inputs": [0, 1], "outputs": [2], "builtin_options_type": 68, "builtin_options": {}}
    graph = {"tensors": tensors, "inputs": [1], "outputs": [2], "operators": [fills]}
    return crafted([FILL], [graph], np.array([side, side], "<i4").tobytes())


@needs_runtime
def test_a_file_that_computes_without_end_is_found_out() -> None:
    """It is whole, and would hang the process that runs it."""
    file = endless()
    with pytest.raises(FileCrash, match="a child of this one computed for more than 1 s"):
        try_file(file, verify(file), TrialLimits(cpu_seconds=1))


@needs_runtime
def test_memory_is_bounded() -> None:
    """A few bytes may ask for more than a device has; what is asked for modestly is given."""
    file = filling(10)
    try_file(file, verify(file))
    file = filling(2**16)
    with pytest.raises(
        TrainingError, match=r"it needs more than 256 MiB|kills|its memory runs out"
    ):
        try_file(file, verify(file))


@needs_runtime
def test_what_only_the_kernel_knows_is_told() -> None:
    """The offsets are right, the numbers are not."""
    file = filling(-5)
    with pytest.raises(
        TrainingError, match=r"the signature 'run' fails on zeros of .* must be >= 0"
    ):
        try_file(file, verify(file))


def child(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str) -> None:
    """Take another program for the child."""
    (folder / "stand_in.py").write_text(f"import os, signal, sys, time\n{source}\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(trial, "_CHILD", "stand_in")


@pytest.mark.parametrize(
    ("source", "error", "sentence"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", FileCrash, "a child .* ended by SIGSEGV"),
        ("os.abort()", FileCrash, "a child of this one was ended by SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGXCPU)", FileCrash, "computed for more than 60 s"),
        ("os.kill(os.getpid(), signal.SIGKILL)", TrialNotRun, "ended by SIGKILL, as when memory"),
        ("signal.alarm(1); time.sleep(60)", TrialNotRun, "it was not done after 120 s"),
        ("sys.exit(3)", TrialNotRun, "ended with exit code 3 and no report"),
        ("print('[]')", FileCrash, "gave no report"),
        ("""print('{"unavailable": "none here"}')""", PluginError, "none here"),
        ("""print('{"refused": "odd"}')""", TrainingError, "does not run: odd"),
    ],
)
def test_how_a_child_ends_says_what_is_known_of_the_file(
    source: str,
    error: type[Exception],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What ends it from outside says nothing about the file, and must not put it aside."""
    child(monkeypatch, tmp_path, f"sys.stdin.buffer.read(); {source}")
    with pytest.raises(error, match=sentence):
        try_file(DIGITS, FACTS)


def test_a_child_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It bounds itself; this is for one that cannot any more."""
    child(monkeypatch, tmp_path, "time.sleep(600)")
    monkeypatch.setattr(file_trial, "START_SECONDS", 0.5)
    with pytest.raises(TrialNotRun, match="it took more than"):
        try_file(b"", FACTS, TrialLimits(wall_seconds=0))


def test_without_a_child_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without memory for another process."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(TrialNotRun, match=r"could not be tried: .*No such file"):
        try_file(DIGITS, FACTS)


def test_a_child_is_told_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker's address holds its password."""
    told = tmp_path / "environment"
    child(monkeypatch, tmp_path, f"open({str(told)!r}, 'w').write(repr(sorted(os.environ)))")
    monkeypatch.setenv("FEDBUS_BROKER", "mqtt://agent.1:secret@broker")
    with pytest.raises(TrialNotRun):
        try_file(b"", FACTS)
    assert "PATH" in told.read_text()
    assert "FEDBUS" not in told.read_text()


class Signature:
    """One of a fake runtime."""

    def __init__(self, calls: list[tuple[str, list[int]]], name: str, **inputs: list[int]) -> None:
        self._calls, self._name, self._inputs = calls, name, inputs

    def __call__(self, **inputs: Array | np.float32) -> dict[str, Array]:
        self._calls.append((self._name, [int(np.prod(np.shape(v))) for v in inputs.values()]))
        if self._name == "broken":
            raise ValueError("node 3 failed")
        return {"w": np.ones(3, "f4")}

    def get_input_details(self) -> dict[str, dict[str, object]]:
        return {
            name: {
                "shape": np.array([max(length, 1) for length in shape]),
                "shape_signature": np.array(shape),
                "dtype": np.float32,
            }
            for name, shape in self._inputs.items()
        }

    def get_output_details(self) -> dict[str, dict[str, object]]:
        return {}


def test_every_signature_is_run_with_one_row_and_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights go back as they came; what has no open dimension is run once."""
    calls: list[tuple[str, list[int]]] = []
    runtime = {
        "set_weights": Signature(calls, "set_weights", w=[3]),
        "set_state": Signature(calls, "set_state", w=[3]),
        "train": Signature(calls, "train", x=[-1, 4], rate=[]),
        "get_weights": Signature(calls, "get_weights"),
    }
    monkeypatch.setattr(trial_child, "new_interpreter", lambda _: runtime)
    monkeypatch.setattr(trial_child, "signatures_of", lambda opened: opened)
    told = trial_child.try_signatures(DIGITS)
    assert told["signatures"] == 4
    assert calls == [
        ("get_weights", []),
        ("set_state", [3]),
        ("get_weights", []),
        ("set_weights", [3]),
        ("train", [4, 1]),
        ("train", [8, 1]),
    ]
    runtime["broken"] = Signature(calls, "broken", x=[2, 2])
    with pytest.raises(TrainingError, match=r"'broken' fails on zeros of .*\(2, 2\)\}: node"):
        trial_child.try_signatures(DIGITS)


@needs_runtime
def test_the_child_is_light() -> None:
    """A device with 512 MB trains beside it; what it may take is bounded in any case."""
    file = Path(str(demo_data.__file__)).with_name("digits.tflite")
    read, write = os.pipe()
    limits = ("268435456", "60", "120")
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "fedbus.frameworks.tflite.trial_child", *limits],
        dict(os.environ),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, str(file), os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, write, 1),
        ],
    )
    os.close(write)
    with os.fdopen(read) as report:
        told = report.read()
    assert os.waitpid(pid, 0)[1] == 0
    assert told.startswith('{"passed": {"signatures": 6')
    if find_spec("tflite_runtime"):
        assert int(told.split('"peak_kib": ')[1].split("}")[0]) < 60 * 1024
