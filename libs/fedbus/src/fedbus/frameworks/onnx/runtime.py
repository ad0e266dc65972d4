"""Runtime of ONNX models; needs onnxruntime. The architecture is `{"blob": bytes of the file}`.

A model has its weights inside its file, and an empty layout.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from fedbus.errors import LayoutError, TrainingError
from fedbus.frameworks.onnx.onnx_session import open_session, run_session
from fedbus.frameworks.onnx.verify import OnnxValue, verify
from fedbus.frameworks.outputs import OutputActivation
from fedbus.frameworks.row_parts import compute_in_parts
from fedbus.model.layout import Array, Weights
from fedbus.text import listed
from fedbus.training.params import Architecture

MAX_RUN_SECONDS: Final = 30.0
"""A model with loops is ended after this time: its inputs may make it compute forever."""
ROWS_AT_ONCE: Final = 1024
"""Rows computed at once, which bounds the memory of what is between the layers."""


class OnnxRuntime:
    """Runs one ONNX model on the CPU, in one thread.

    Raises:
        PluginError: onnxruntime is not installed.
        TrainingError: The architecture has no whole file, or onnxruntime refuses it.
    """

    def __init__(self, architecture: Architecture) -> None:
        file = architecture.get("blob")
        if not isinstance(file, bytes | bytearray):
            raise TrainingError(
                f"an onnx architecture has a blob, bytes; this one has {listed(architecture)}"
            )
        self._facts = verify(file)
        self._session = open_session(bytes(file))

    @property
    def output_activation(self) -> OutputActivation | None:
        """The last operation of the model."""
        return self._facts.output_activation

    @property
    def is_steady(self) -> bool:
        """Whether the numbers in the inputs do not decide how long the model computes."""
        return self._facts.is_steady

    def load(self, weights: Weights) -> None:
        """Accept that a version has no weights beside its file; raise LayoutError if it has."""
        if weights:
            raise LayoutError(
                f"an .onnx file has its weights inside, and cannot take {listed(weights)}"
            )

    def predict(self, inputs: Array) -> Array | Mapping[str, Array]:
        """Return the outputs of a model with one input: an array, or several by name.

        Raises:
            TrainingError: The model has several inputs, or these do not fit it.
        """
        names = list(self._facts.inputs)
        if len(names) != 1:
            raise TrainingError(f"the model has the inputs {listed(names)}: name each")
        return self.predict_named({names[0]: inputs})

    def predict_named(self, inputs: Mapping[str, Array]) -> Array | Mapping[str, Array]:
        """Return the outputs for named inputs of (rows, …): an array, or several by name.

        Raises:
            TrainingError: The inputs do not fit the model.
        """
        wanted = self._facts.inputs
        if inputs.keys() != wanted.keys():
            raise TrainingError(
                f"the model takes {listed(wanted)}, and got {listed(inputs) or 'nothing'}"
            )
        given = {name: _typed(name, wanted[name], array) for name, array in inputs.items()}
        found = compute_in_parts(self._compute, given, self._facts.rows, ROWS_AT_ONCE)
        return next(iter(found.values())) if len(found) == 1 else found

    def _compute(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        names = list(self._facts.outputs)
        try:
            seconds = None if self._facts.is_steady else MAX_RUN_SECONDS
            found: list[Any] = run_session(self._session, names, dict(inputs), seconds)
        except TimeoutError as error:
            raise TrainingError(f"the model computed for more than {seconds:g} s") from error
        except Exception as error:  # its own classes, which derive from Exception alone
            shapes = {name: array.shape for name, array in inputs.items()}
            raise TrainingError(f"the model cannot take {shapes}: {error}") from error
        return dict(zip(names, map(np.asarray, found), strict=True))


def _typed(name: str, value: OnnxValue, rows: Array) -> Array:
    """Convert rows to the dtype of an input; check their shape."""
    wanted = value.shape[1:]
    fits = rows.ndim == len(wanted) + 1 and all(
        length in {-1, given} for length, given in zip(wanted, rows.shape[1:], strict=True)
    )
    if not fits or not len(rows) or rows.dtype.kind not in "biuf":
        raise TrainingError(
            f"{name} is {rows.dtype} {rows.shape}; the model takes {('rows', *wanted)}"
        )
    return np.asarray(rows, value.dtype, order="C")
