"""Model files as converters write them, packed for a push without a spec beside them.

The file itself says what the model takes and makes. One that can be trained (a `.tflite` file with
the signatures of `fedbus.frameworks.tflite.signatures`) is pushed with the weights that it holds;
any other, and every `.onnx` file, only runs, and its spec has an empty layout.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fedbus.client.model_outputs import NO_OUTPUT_OPTIONS, OutputOptions
from fedbus.client.names import model_name
from fedbus.client.packed_model import PackedModel
from fedbus.client.packing import pack
from fedbus.errors import SettingsError
from fedbus.frameworks.onnx.trial import ONNX
from fedbus.frameworks.onnx.verify import verify as verify_onnx
from fedbus.frameworks.tflite.admission import TFLITE
from fedbus.frameworks.tflite.run_facts import request_dtype, run_facts
from fedbus.frameworks.tflite.signatures import TensorFacts
from fedbus.frameworks.tflite.verify import verify as verify_tflite

_SUFFIXES: Final = frozenset({".tflite", ".onnx"})
_TFLITE_MARK: Final = b"TFL3"
"""Identifier at byte 4 of every `.tflite` file."""
_MARKED_BYTES: Final = 8


def is_model_file(path: Path) -> bool:
    """Return whether a file is a model that can be pushed without a spec, by name or content."""
    if path.suffix in _SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return file.read(_MARKED_BYTES)[4:] == _TFLITE_MARK
    except OSError:
        return False


def read_model_file(
    path: Path,
    weights_file: Path | None = None,
    said: OutputOptions = NO_OUTPUT_OPTIONS,
    name: str | None = None,
) -> PackedModel:
    """Pack a model file; its name without the suffix is the model's, unless `name` is given.

    Raises:
        SettingsError: The file cannot be read, or its name is no model's name.
        TrainingError: It is damaged, or does not run.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    return pack(spec_of_file(data, path.name, name), path.parent, weights_file, said)


def spec_of_file(data: bytes, file_name: str, name: str | None = None) -> dict[str, Any]:
    """Return the spec of a model file as JSON has it, with the file's name as its `blob`.

    Raises:
        SettingsError: The file's name is no model's name, and `name` is not given.
        TrainingError: The file is damaged, or has no function that answers.
    """
    model = model_name(name if name is not None else _model_of(file_name))
    if Path(file_name).suffix == ".onnx":
        stated = {n: _input(v.shape[1:], v.dtype) for n, v in verify_onnx(data).inputs.items()}
        return _run_only(model, ONNX, file_name, stated)
    facts = verify_tflite(data)
    if not facts.trains:
        stated = {n: _tflite_input(t) for n, t in run_facts(facts).function.inputs.items()}
        return _run_only(model, TFLITE, file_name, stated)
    return {
        "model": model,
        "architectures": {TFLITE: {"blob": file_name}},
        "input": _tflite_input(facts.signatures["infer"].inputs["x"]),
    }


def _run_only(
    model: str, framework: str, file_name: str, inputs: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    only = next(iter(inputs.values()))
    return {
        "model": model,
        "layout": [],
        "architectures": {framework: {"blob": file_name}},
        "input": only if len(inputs) == 1 else {"inputs": dict(inputs)},
    }


def _model_of(file_name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", Path(file_name).stem)


def _tflite_input(tensor: TensorFacts) -> dict[str, Any]:
    return _input((tensor.open_shape or tensor.shape)[1:], request_dtype(tensor))


def _input(row: tuple[int, ...], dtype: str) -> dict[str, Any]:
    """Return the input that a spec states; a row with an open length has no shape there."""
    shape = {} if -1 in row else {"shape": list(row)}
    return {**shape, "dtype": dtype}
