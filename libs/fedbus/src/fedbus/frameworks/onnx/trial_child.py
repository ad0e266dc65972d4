"""Child process that runs an `.onnx` file once; started with `python -m` by `trial.py`."""

import sys
from typing import Final

import numpy as np

from fedbus.frameworks.file_trial_child import serve_trial
from fedbus.frameworks.onnx.onnx_session import find_onnxruntime
from fedbus.frameworks.onnx.runtime import OnnxRuntime
from fedbus.frameworks.onnx.verify import verify

_OPEN: Final = 8
"""Length of a dimension that the file leaves open, besides that of the rows."""


def main(arguments: list[str]) -> None:
    """Run the trial and write the report."""
    serve_trial(arguments, find_onnxruntime, try_model)


def try_model(file: bytes) -> dict[str, int]:
    """Run a model on zeros, with one row, and with two if it takes any number.

    Raises:
        FedbusError: It cannot be opened, or fails; the message says why.
    """
    facts = verify(file)
    runtime = OnnxRuntime({"blob": file})
    for rows in (1, 2) if facts.rows < 0 else (facts.rows,):
        runtime.predict_named(
            {
                name: np.zeros(
                    (rows, *(_OPEN if length < 0 else length for length in value.shape[1:])),
                    value.dtype,
                )
                for name, value in facts.inputs.items()
            }
        )
    return {"inputs": len(facts.inputs)}


if __name__ == "__main__":
    main(sys.argv[1:])
