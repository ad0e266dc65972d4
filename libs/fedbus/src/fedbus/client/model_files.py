"""Model files as converters write them, packed for a push without a spec beside them.

The file itself says what the model takes and makes. One that can be trained (a `.tflite` file with
the signatures of `fedbus.frameworks.tflite.signatures`) is pushed with the weights that it holds;
any other only runs, and its spec has an empty layout.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fedbus.client.model_outputs import NO_OUTPUT_OPTIONS, OutputOptions
from fedbus.client.names import model_name
from fedbus.client.packing import PackedModel, pack
from fedbus.errors import SettingsError
from fedbus.frameworks.tflite.admission import TFLITE
from fedbus.frameworks.tflite.run_facts import request_dtype, row_shape, run_facts
from fedbus.frameworks.tflite.signatures import SignatureFacts, TensorFacts
from fedbus.frameworks.tflite.verify import verify

_TFLITE_MARK: Final = b"TFL3"
"""Identifier at byte 4 of every `.tflite` file."""
_MARKED_BYTES: Final = 8


def is_model_file(path: Path) -> bool:
    """Return whether a file is a model that can be pushed without a spec, by name or content."""
    if path.suffix == ".tflite":
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
    model = name if name is not None else re.sub(r"[^\w.-]+", "-", Path(file_name).stem)
    plain: dict[str, Any] = {
        "model": model_name(model),
        "architectures": {TFLITE: {"blob": file_name}},
    }
    facts = verify(data)
    if facts.trains:
        infer = facts.signatures["infer"]
        return plain | {"input": _input_of(SignatureFacts({"x": infer.inputs["x"]}, {}).inputs)}
    return plain | {"layout": [], "input": _input_of(run_facts(facts).function.inputs)}


def _input_of(inputs: Mapping[str, TensorFacts]) -> dict[str, Any]:
    stated = {name: _tensor_input(tensor) for name, tensor in inputs.items()}
    return next(iter(stated.values())) if len(stated) == 1 else {"inputs": stated}


def _tensor_input(tensor: TensorFacts) -> dict[str, Any]:
    row = row_shape(tensor)
    shape = {} if row is None else {"shape": list(row)}
    return {**shape, "dtype": request_dtype(tensor)}
