"""Child process that runs a `.tflite` file once; started with `python -m` by `trial.py`."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from fedbus.errors import TrainingError
from fedbus.frameworks.file_trial_child import serve_trial
from fedbus.frameworks.tflite.file import (
    Signature,
    find_interpreter,
    new_interpreter,
    signatures_of,
)
from fedbus.model.layout import Array

BATCHES: Final = (1, 2)
"""Rows in the open dimension of inputs: tensors are resized for the second value."""


def main(arguments: list[str]) -> None:
    """Run the trial and write the report."""
    serve_trial(arguments, find_interpreter, try_signatures)


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
    return {"signatures": len(signatures)}


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


if __name__ == "__main__":
    main(sys.argv[1:])
