"""Runtime of `.tflite` files: trainable ones with a version's weights, others as they are.

A file that cannot be trained has its weights inside, and its model has an empty layout. Requests
have real numbers: those of a fully quantized file (int8, uint8, int16) are quantized on the way in,
and dequantized on the way out. A request in a quantized input's own dtype is passed as it is.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np

from fedbus.errors import LayoutError, TrainingError
from fedbus.frameworks.outputs import OutputActivation
from fedbus.frameworks.row_parts import compute_in_parts
from fedbus.frameworks.tflite.file import new_interpreter
from fedbus.frameworks.tflite.run_facts import RunFacts, run_facts
from fedbus.frameworks.tflite.signatures import TensorFacts
from fedbus.frameworks.tflite.trainer import PREDICTED_BYTES, TfliteTrainer
from fedbus.frameworks.tflite.verify import verify
from fedbus.model.layout import Array, Weights
from fedbus.plugins import Predicts
from fedbus.text import listed
from fedbus.training.params import Architecture

MAX_INTERPRETERS: Final = 4
"""Numbers of rows for which tensors stay allocated; each has its own memory."""

_Call: TypeAlias = Callable[[Mapping[str, Array]], Mapping[str, Array]]


def open_runtime(architecture: Architecture) -> Predicts:
    """Open an architecture's file: as a trainer if it can be trained, else as it is.

    Raises:
        PluginError: No TFLite runtime is installed.
        TrainingError: It is no `.tflite` file that runs here.
    """
    file = architecture.get("blob")
    if isinstance(file, bytes | bytearray) and not verify(file).trains:
        return TfliteRuntime(bytes(file))
    return TfliteTrainer(architecture)


class TfliteRuntime:
    """Runs a verified `.tflite` file that has its weights inside, on the CPU, in one thread.

    Raises:
        PluginError: No TFLite runtime is installed.
        TrainingError: The runtime refuses the file, or it has no function that can answer.
    """

    def __init__(self, file: bytes) -> None:
        facts = verify(file)
        self._file = file
        self._run = run_facts(facts)
        self._at_once = max(1, PREDICTED_BYTES // max(1, facts.bytes))
        self._calls: OrderedDict[int, _Call] = OrderedDict()
        self._call_for(1 if self._run.rows < 0 else self._run.rows)

    @property
    def output_activation(self) -> OutputActivation | None:
        """The last operation of the file."""
        return self._run.output_activation

    @property
    def is_steady(self) -> bool:
        """Whether the numbers in the inputs do not decide how long the file computes."""
        return self._run.function.is_steady

    def load(self, weights: Weights) -> None:
        """Accept that a version has no weights beside its file; raise LayoutError if it has."""
        if weights:
            raise LayoutError(
                f"this .tflite file has its weights inside, and cannot take {listed(weights)}: it "
                "has no signature 'set_weights'"
            )

    def predict(self, inputs: Array) -> Array | Mapping[str, Array]:
        """Return the outputs of a file with one input: an array, or several by name.

        Raises:
            TrainingError: The file has several inputs, or these do not fit it.
        """
        names = list(self._run.function.inputs)
        if len(names) != 1:
            raise TrainingError(f"the .tflite file has the inputs {listed(names)}: name each")
        return self.predict_named({names[0]: inputs})

    def predict_named(self, inputs: Mapping[str, Array]) -> Array | Mapping[str, Array]:
        """Return the outputs for named inputs of (rows, …): an array, or several by name.

        Raises:
            TrainingError: The inputs do not fit the file.
        """
        wanted = self._run.function.inputs
        if inputs.keys() != wanted.keys():
            raise TrainingError(
                f"the .tflite file takes {listed(wanted)}, and got {listed(inputs) or 'nothing'}"
            )
        stored = {name: _stored(name, wanted[name], array) for name, array in inputs.items()}
        found = compute_in_parts(self._compute, stored, self._run.rows, self._at_once)
        real = {name: _real(found[name], each) for name, each in self._run.function.outputs.items()}
        return next(iter(real.values())) if len(real) == 1 else real

    def _compute(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        try:
            return self._call_for(len(next(iter(inputs.values()))))(inputs)
        except (ValueError, RuntimeError) as error:
            shapes = {name: array.shape for name, array in inputs.items()}
            raise TrainingError(f"the model cannot take {shapes}: {error}") from error

    def _call_for(self, rows: int) -> _Call:
        """Return an interpreter's call whose tensors are allocated for this number of rows."""
        call = self._calls.pop(rows, None)
        if call is None:
            reused = len(self._calls) >= MAX_INTERPRETERS
            call = self._calls.popitem(last=False)[1] if reused else self._open()
        self._calls[rows] = call
        return call

    def _open(self) -> _Call:
        interpreter = new_interpreter(self._file)
        try:
            if self._run.signature is None:
                return _calls_main(interpreter, self._run)
            runner = interpreter.get_signature_runner(self._run.signature)
        except (ValueError, RuntimeError) as error:
            raise TrainingError(f"the .tflite file does not run here: {error}") from error
        return lambda inputs: runner(**inputs)


def _calls_main(interpreter: Any, run: RunFacts) -> _Call:  # noqa: ANN401 - a class without types
    """Return a call of the first subgraph; its tensors have the order of the file."""
    taken = [each["index"] for each in interpreter.get_input_details()]
    made = [each["index"] for each in interpreter.get_output_details()]
    shapes: dict[int, tuple[int, ...]] = {}

    def call(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        given = dict(zip(taken, (inputs[name] for name in run.function.inputs), strict=True))
        if shapes != (wanted := {index: array.shape for index, array in given.items()}):
            shapes.clear()
            for index, array in given.items():
                interpreter.resize_tensor_input(index, array.shape)
            interpreter.allocate_tensors()
            shapes.update(wanted)
        for index, array in given.items():
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        found = (interpreter.get_tensor(index) for index in made)
        return dict(zip(run.function.outputs, found, strict=True))

    return call


def _stored(name: str, tensor: TensorFacts, rows: Array) -> Array:
    """Convert rows to the dtype in which a file stores an input; check their shape."""
    wanted = (tensor.open_shape or tensor.shape)[1:]
    fits = rows.ndim == len(wanted) + 1 and all(
        length in {-1, given} for length, given in zip(wanted, rows.shape[1:], strict=True)
    )
    if not fits or not len(rows) or rows.dtype.kind not in "biuf":
        raise TrainingError(
            f"{name} is {rows.dtype} {rows.shape}; the model takes {('rows', *wanted)}"
        )
    if rows.dtype.name != tensor.dtype and tensor.scale:
        bounds = np.iinfo(tensor.dtype)
        numbers = np.rint(rows / np.float32(tensor.scale)) + tensor.zero_point
        rows = np.clip(numbers, bounds.min, bounds.max)
    return np.asarray(rows, tensor.dtype, order="C")


def _real(stored: Array, tensor: TensorFacts) -> Array:
    """Convert an output to real numbers, float32 if it was quantized."""
    if not tensor.scale:
        return stored
    wide: Array = (stored.astype(np.float32) - tensor.zero_point) * np.float32(tensor.scale)
    return wide
