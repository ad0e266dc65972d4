"""Train and run `.tflite` models on a device that has tflite-runtime and numpy, and nothing else.

The structure is `{"blob": bytes of the .tflite file}`. The file carries its own training step:
`fedbus.frameworks.keras.export` makes one of a Keras model, `examples/digits/build_model.py` by
hand. Its signatures are

    train(x, y, learning_rate[, momentum]) -> {"loss", "correct"}    one step of SGD on one batch
    infer(x)                               -> {"outputs"}            probabilities: (rows, classes)
    get_weights()                          -> {every weight}
    set_weights(every weight)              -> {"done"}               and forget the momentum

and perhaps

    train_adam(x, y, learning_rate, beta_1, beta_2, epsilon)         one step of Adam, with as much

where the weight `layers.0.bias` is spelt `layers__0__bias`. The batch dimension is open (None), so
any batch fits, the short last one too. A file that gives no "correct" was made for the mean squared
error: its truths and outputs are values. One that takes a `seed` drops units by it.
"""

import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, cast

import numpy as np

from fedbus.catalogue import require
from fedbus.data import Dataset
from fedbus.errors import PluginError, TrainingError
from fedbus.layout import Array, Layout, Weights, listed
from fedbus.training import CROSS_ENTROPY, Params, Structure, Tally, Update, check_labels

_RUNTIMES = ("tflite_runtime", "ai_edge_litert", "tensorflow.lite.python")
"""Where an `interpreter` module is found, the lightest first."""
_FOR_NUMPY_1 = "2.14."
_NEEDED = {
    "train": ({"x", "y", "learning_rate"}, {"loss"}),
    "infer": ({"x"}, {"outputs"}),
    "get_weights": (set(), set()),
    "set_weights": (set(), set()),
}
"""What each signature must take and give, at the least."""
_ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
"""What it takes beside the learning rate, with Keras's own values."""
_SQUARED = frozenset({"mean_squared_error", "mse"})
_SEEDS = 1021
_LEAST = 1e-7


class _Signature(Protocol):
    """The part of TFLite's SignatureRunner that we use."""

    def __call__(self, **inputs: Array | np.float32) -> dict[str, Array]: ...
    def get_input_details(self) -> dict[str, dict[str, Any]]: ...
    def get_output_details(self) -> dict[str, dict[str, Any]]: ...


class TfliteTrainer:
    """Trains, scores and runs one `.tflite` file on the CPU, in one thread.

    Raises:
        PluginError: no TFLite runtime is installed, or none that runs beside this numpy.
        TrainingError: the structure is no `.tflite` file with the four signatures.
    """

    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        signatures = _signatures(structure)
        self._train = signatures["train"]
        self._adam = signatures.get("train_adam")
        self._infer = signatures["infer"]
        self._get = signatures["get_weights"]
        self._set = signatures["set_weights"]
        self._inputs = self._train.get_input_details()
        self._layout = Layout.of(_weights(self._get))
        self._by_class = "correct" in self._train.get_output_details()
        self._classes = int(self._infer.get_output_details()["outputs"]["shape"][-1])

    def initial(self) -> Weights:
        """Make the weights the file was exported with."""
        return _weights(_signatures(self._structure)["get_weights"])

    def load(self, weights: Weights) -> None:
        """Take these weights, and forget the momentum of what was trained before.

        Raises:
            LayoutError: they are not those of the model.
        """
        self._layout.check(weights)
        self._set(**{_spelt(name): _native(weight) for name, weight in weights.items()})

    def train(self, weights: Weights, data: Dataset, params: Params) -> Update:
        """Take one step of SGD or Adam per batch; the metrics are means over all of them.

        Raises:
            LayoutError: the weights are not those of the model.
            Stopped: at the next batch after the data was asked to stop.
            TrainingError: the data or the parameters do not fit, or the loss is no number any more.
        """
        require("tflite", replace(params, metrics=()))
        step, fixed = self._step(params)
        self.load(weights)
        tally = Tally()
        for x, y in data.steps(params):
            batch = {"x": self._typed("x", x), "y": self._truth(x, y)}
            said = _run(step, batch | fixed)
            correct = float(said.get("correct", np.float32(0)))
            tally.add(loss=float(said["loss"]), correct=correct, examples=len(x))
        return Update(_weights(self._get), data.examples, self._figures(tally))

    def evaluate(self, weights: Weights, data: Dataset, params: Params) -> Mapping[str, float]:
        """Score weights: the mean `loss`, and of classes `accuracy`, 0 to 1.

        Raises:
            LayoutError: the weights are not those of the model.
            Stopped: at the next batch after the data was asked to stop.
            TrainingError: the data or the parameters do not fit.
        """
        self._require(params)
        self.load(weights)
        tally = Tally()
        for x, y in data.batches():
            truth = self._truth(x, y)
            outputs = self.predict(x)
            if self._by_class:
                chosen = np.maximum(outputs[np.arange(len(y)), y], _LEAST)
                loss, correct = -np.log(chosen).mean(), (outputs.argmax(axis=1) == y).sum()
            else:
                loss, correct = np.square(outputs - truth).mean(), 0
            tally.add(loss=float(loss), correct=float(correct), examples=len(y))
        return self._figures(tally)

    def predict(self, inputs: Array) -> Array:
        """Answer each row. inputs: (rows, …); returns (rows, classes), probabilities, or values.

        Raises:
            TrainingError: the inputs are not what the model takes.
        """
        return _run(self._infer, {"x": self._typed("x", inputs)})["outputs"]

    def _require(self, params: Params) -> None:
        losses = CROSS_ENTROPY if self._by_class else _SQUARED
        params.require("this .tflite file", {params.optimizer}, losses)

    def _step(self, params: Params) -> tuple[_Signature, dict[str, Array | np.float32]]:
        """Choose the training step, and say what it is told beside the rows."""
        self._require(params)
        fixed: dict[str, Array | np.float32] = {"learning_rate": np.float32(params.learning_rate)}
        if "seed" in self._inputs:
            fixed["seed"] = np.float32(params.seed % _SEEDS)
        if params.optimizer == "adam":
            if self._adam is None:
                raise TrainingError("this .tflite file was exported without adam")
            for name, default in _ADAM.items():
                fixed[name] = np.float32(params.number(name, default))
            return self._adam, fixed
        momentum = params.number("momentum", 0.0)
        if "momentum" in self._inputs:
            fixed["momentum"] = np.float32(momentum)
        elif momentum:
            raise TrainingError("this .tflite file was exported without momentum")
        return self._train, fixed

    def _truth(self, x: Array, y: Array) -> Array:
        if self._by_class:
            check_labels(y, len(x), self._classes)
        elif y.shape == (len(x),):
            y = y[:, None]
        return self._typed("y", y)

    def _figures(self, tally: Tally) -> dict[str, float]:
        figures = tally.metrics()
        return figures if self._by_class else {"loss": figures["loss"]}

    def _typed(self, name: str, rows: Array) -> Array:
        # TFLite would stretch to a wrong shape, and say so only deep inside, if at all.
        wanted = [int(length) for length in self._inputs[name]["shape_signature"]][1:]
        lengths = zip(rows.shape[1:], wanted, strict=False)
        fits = rows.ndim == len(wanted) + 1 and all(w in {-1, n} for n, w in lengths)
        if not fits or not len(rows) or rows.dtype.kind not in "biuf":
            shape = ("rows", *wanted)
            raise TrainingError(f"{name} is {rows.dtype} {rows.shape}; the model takes {shape}")
        return np.asarray(rows, self._inputs[name]["dtype"], order="C")


def _signatures(structure: Structure) -> dict[str, _Signature]:
    file = structure.get("blob")
    if not isinstance(file, bytes | bytearray):
        has = f"blob, a {type(file).__name__}" if "blob" in structure else listed(structure)
        raise TrainingError(
            f"a tflite structure has a blob, bytes; this one has {has or 'nothing'}"
        )
    runtime = _interpreter()
    try:
        with warnings.catch_warnings():  # TensorFlow's tells of its successor, every time
            warnings.simplefilter("ignore", UserWarning)
            interpreter = runtime(model_content=bytes(file), num_threads=1)
        found = interpreter.get_signature_list()
    except SystemError as error:  # what C says that was compiled against another numpy
        raise PluginError(_unfit(runtime.__module__, error)) from error
    except (ValueError, RuntimeError) as error:
        raise TrainingError(f"not a .tflite file that runs here: {error}") from error
    for name, (inputs, outputs) in _NEEDED.items():
        if name not in found:
            raise TrainingError(f"the .tflite file has no signature {name!r}")
        missing = (inputs - {*found[name]["inputs"]}) | (outputs - {*found[name]["outputs"]})
        if missing:
            raise TrainingError(f"the signature {name!r} has no {listed(missing)}")
    known = [*_NEEDED, *({"train_adam"} & found.keys())]
    return {name: interpreter.get_signature_runner(name) for name in known}


def _interpreter() -> Any:  # noqa: ANN401 - a class without types
    # After TensorFlow in one process tflite_runtime reads no file any more: their symbols clash.
    there = _RUNTIMES[::-1] if "tensorflow" in sys.modules else _RUNTIMES
    broken = []
    for name in there:
        try:
            _check_numpy(name, np.__version__)
            return cast("Any", import_module(f"{name}.interpreter")).Interpreter
        except ModuleNotFoundError:
            continue
        except PluginError as error:
            broken.append(str(error))
        except Exception as error:  # noqa: BLE001 - whatever a broken installation may raise
            broken.append(_unfit(name, error))
    raise PluginError("; ".join(broken) or 'no TFLite runtime here; pip install "fedbus[tflite]"')


def _check_numpy(runtime: str, numpy: str) -> None:
    """Refuse what would print a page when imported, and raise a SystemError when used.

    Raises:
        PluginError: the runtime is the last tflite-runtime, compiled for numpy 1, and this is none.
    """
    if runtime != "tflite_runtime" or numpy.startswith("1."):
        return
    try:
        found = version("tflite-runtime")
    except PackageNotFoundError:
        return  # from elsewhere, or none at all
    if found.startswith(_FOR_NUMPY_1):
        raise PluginError(
            f"tflite-runtime {found} needs numpy 1, and numpy {numpy} is installed; "
            'pip install "numpy<2" mends it'
        )


def _unfit(runtime: str, error: Exception) -> str:
    return (
        f"{runtime.partition('.')[0]} does not load beside numpy {np.__version__}: "
        f'{type(error).__name__}: {error}; pip install "fedbus[tflite]" brings versions that fit'
    )


def _weights(get: _Signature) -> dict[str, Array]:
    # The runtime hands out copies.
    return {name.replace("__", "."): weight for name, weight in get().items()}


def _run(signature: _Signature, inputs: Mapping[str, Array | np.float32]) -> dict[str, Array]:
    try:
        return signature(**inputs)
    except (ValueError, RuntimeError) as error:
        shapes = {name: value.shape for name, value in inputs.items()}
        raise TrainingError(f"the model cannot take {shapes}: {error}") from error


def _native(weight: Array) -> Array:
    return np.asarray(weight, weight.dtype.newbyteorder("="), order="C")


def _spelt(name: str) -> str:
    return name.replace(".", "__")
