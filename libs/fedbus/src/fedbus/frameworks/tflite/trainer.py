"""Train and run `.tflite` models on a device that has tflite-runtime and numpy, and nothing else.

The architecture is `{"blob": bytes of the .tflite file}`. The file carries its own training step:
`fedbus.frameworks.keras.tflite_export` makes one of a Keras model, `examples/digits/build_model.py`
by
hand. Its signatures are

    train(x, y, learning_rate[, momentum]) -> {"loss", "correct"}    one step of SGD on one batch
    infer(x)                               -> {"outputs"}            (rows, …)
    get_weights()                          -> {every weight}
    set_weights(every weight)              -> {"done"}               and forget the momentum

and perhaps

    train_adam(x, y, learning_rate, beta_1, beta_2, epsilon)         one step of Adam, with as much
    get_state()                            -> {all it remembers}     its momentum, say
    set_state(all it remembers)            -> {"done"}               without which no state is kept

where the weight `layers.0.bias` is spelt `layers__0__bias`. The batch dimension is open (None), so
any batch fits, the short last one too. A file that gives no "correct" was made for the mean squared
error: its truths and outputs are values. With "correct", its truths are class numbers where its `y`
is of whole numbers, else yes or no for each output. The outputs of both are probabilities, unless
`infer` gives those as "probabilities" beside the scores. One that takes a `seed` drops units by it.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fedbus.data import Dataset
from fedbus.errors import TrainingError
from fedbus.frameworks.outputs import OutputActivation
from fedbus.frameworks.stateful import StatefulTrainer
from fedbus.frameworks.tflite.batch_metrics import binary_metrics, class_metrics, squared_error
from fedbus.frameworks.tflite.calls import read_weights, run, set_weights, typed_rows
from fedbus.frameworks.tflite.file import Signature, open_architecture
from fedbus.frameworks.tflite.optimizer_state import has_state, restore_state, state_arrays
from fedbus.model.layout import Array, Layout, Weights
from fedbus.text import listed
from fedbus.training.labels import (
    check_binary_targets,
    class_targets,
    sample_classes,
    single_output_hint,
)
from fedbus.training.options import check_supported
from fedbus.training.params import CROSS_ENTROPY, Architecture, TrainingParams, Update
from fedbus.training.running_metrics import RunningMetrics

PREDICTED_BYTES = 256 * 2**20
"""Of all tensors of the file together, for the rows that are answered at once."""
_ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
"""What it takes beside the learning rate, with Keras's own values."""
_SQUARED = frozenset({"mean_squared_error", "mse"})
_BINARY = frozenset({"binary_crossentropy"})
_SEEDS = 1021
_DRAWS = 2
"""Tells the chance by which classes are drawn from shares apart from others of a task's seed."""


class TfliteTrainer(StatefulTrainer):
    """Trains, scores and runs one `.tflite` file on the CPU, in one thread.

    Raises:
        PluginError: no TFLite runtime is installed, or none that runs beside this numpy.
        TrainingError: the architecture is no `.tflite` file with the four signatures.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self._architecture = architecture
        signatures, facts = open_architecture(architecture)
        self._at_once = max(1, PREDICTED_BYTES // max(1, facts.bytes))
        self._train = signatures["train"]
        self._adam = signatures.get("train_adam")
        self._infer = signatures["infer"]
        self._get = signatures["get_weights"]
        self._set = signatures["set_weights"]
        self._get_state = signatures.get("get_state")
        self._set_state = signatures.get("set_state")
        self._inputs = self._train.get_input_details()
        self._layout = Layout.of(read_weights(self._get))
        counts_correct = "correct" in self._train.get_output_details()
        self._by_class = counts_correct and np.dtype(self._inputs["y"]["dtype"]).kind in "iu"
        self._binary = counts_correct and not self._by_class
        answered = self._infer.get_output_details()
        self._scores = "probabilities" in answered
        self._classes = int(answered["outputs"]["shape"][-1])

    @property
    def output_activation(self) -> OutputActivation:
        """What the file's `infer` ends in."""
        if self._scores or not (self._by_class or self._binary):
            return "scores"
        return "softmax" if self._by_class else "sigmoid"

    @property
    def declared_loss(self) -> str:
        """The loss that the file was made for."""
        if self._by_class:
            return "categorical_crossentropy"
        return "binary_crossentropy" if self._binary else "mean_squared_error"

    def initial(self) -> Weights:
        """Make the weights the file was exported with."""
        return read_weights(open_architecture(self._architecture)[0]["get_weights"])

    def load(self, weights: Weights) -> None:
        """Take these weights, and forget the momentum of what was trained before.

        Raises:
            LayoutError: they are not those of the model.
        """
        self._layout.check(weights)
        set_weights(self._set, weights)

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        """Take one step of SGD or Adam per batch; the metrics are means over all of them.

        Raises:
            LayoutError: the weights are not those of the model.
            Stopped: at the next batch after the data was asked to stop.
            TrainingError: the data or the parameters do not fit, or the loss is no number any more.
        """
        found = self._take()
        check_supported("tflite", replace(params, metrics=()))
        step, fixed = self._step(params)
        wanted = has_state(params) and (params.keep_optimizer_state or found is not None)
        if wanted and None in {self._get_state, self._set_state}:
            raise TrainingError(
                "this .tflite file was exported without get_state and set_state, which "
                "keep_optimizer_state needs; export it again, or leave round.keep_optimizer_state "
                "out"
            )
        self.load(weights)
        if found is not None:
            restore_state(self._set_state, found, params)
        del found  # as large as the state that the file holds now
        running = RunningMetrics()
        rng = np.random.default_rng((params.seed, _DRAWS))
        for x, y in data.steps(params):
            target = self._target(x, y)
            if self._by_class:  # the file's step takes class numbers alone
                target = sample_classes(target, rng)
            batch = {
                "x": typed_rows("x", self._inputs["x"], x),
                "y": typed_rows("y", self._inputs["y"], target),
            }
            result = run(step, batch | fixed)
            correct = float(result.get("correct", np.float32(0)))
            running.add(loss=float(result["loss"]), correct=correct, examples=len(x))
        if params.keep_optimizer_state:
            state = state_arrays(self._get_state, params)  # the next weights clear it in the file
            self._leave(lambda: state)
        return Update(read_weights(self._get), data.examples, self._metrics(running))

    def evaluate(
        self, weights: Weights, data: Dataset, params: TrainingParams
    ) -> Mapping[str, float]:
        """Score weights: the mean `loss`, and of classes `accuracy`, 0 to 1.

        Raises:
            LayoutError: the weights are not those of the model.
            Stopped: at the next batch after the data was asked to stop.
            TrainingError: the data or the parameters do not fit.
        """
        self._check_loss(params)
        self.load(weights)
        running = RunningMetrics()
        for x, y in data.batches():
            running.add(**self._measure(x, self._target(x, y)), examples=len(y))
        return self._metrics(running)

    def predict(self, inputs: Array) -> Array | Mapping[str, Array]:
        """Answer each row with what the file's `infer` gives.

        inputs: (rows, …); returns its `outputs`, (rows, …), or all by name where there are others.

        Raises:
            TrainingError: the inputs are not what the model takes.
        """
        found = self._answer(inputs)
        others = found.keys() - {"outputs", "probabilities"}
        return {n: found[n] for n in sorted({"outputs", *others})} if others else found["outputs"]

    def _answer(self, inputs: Array) -> dict[str, Array]:
        """Answer so many rows at a time that what lies between inputs and outputs stays bounded."""
        rows, most = typed_rows("x", self._inputs["x"], inputs), self._at_once
        parts = [run(self._infer, {"x": rows[n : n + most]}) for n in range(0, len(rows), most)]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _measure(self, x: Array, target: Array) -> dict[str, float]:
        """Compute the mean loss of one batch, and its number of correct rows."""
        found = self._answer(x)
        outputs = found["probabilities" if self._scores else "outputs"]
        if self._by_class:
            return class_metrics(outputs, target)
        return (binary_metrics if self._binary else squared_error)(outputs, target)

    def _check_loss(self, params: TrainingParams) -> None:
        losses = _BINARY if self._binary else CROSS_ENTROPY if self._by_class else _SQUARED
        if params.loss not in losses:
            raise TrainingError(
                f"this .tflite file has no loss {params.loss!r}; it has {listed(losses)}"
            )
        if self._by_class and self._classes == 1:
            raise TrainingError(single_output_hint(params.loss))

    def _step(self, params: TrainingParams) -> tuple[Signature, dict[str, Array | np.float32]]:
        """Choose the training step, and say what it is told beside the rows."""
        self._check_loss(params)
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

    def _target(self, x: Array, y: Array) -> Array:
        """Bring truths to class numbers or shares of classes, or to what the outputs are like."""
        if self._by_class:
            return class_targets(y, (len(x),), self._classes)
        if self._binary:
            check_binary_targets(y, "binary_crossentropy")
        return typed_rows(
            "y", self._inputs["y"], y[:, None] if y.shape == (len(x),) and self._classes == 1 else y
        )

    def _metrics(self, running: RunningMetrics) -> dict[str, float]:
        metrics = running.metrics()
        counts_correct = self._by_class or self._binary
        return metrics if counts_correct else {"loss": metrics["loss"]}
