"""Trainer of `.tflite` files; needs tflite-runtime and numpy, nothing else.

The architecture is `{"blob": bytes of the .tflite file}`. The file carries its own training step:
`fedbus.frameworks.keras.tflite_export` exports a Keras model so, and
`examples/digits/build_model.py` writes one by hand. Its signatures are

    train(x, y, learning_rate[, momentum]) -> {"loss", "correct"}    one step of SGD on one batch
    infer(x)                               -> {"outputs"}            (rows, …)
    get_weights()                          -> {every weight}
    set_weights(every weight)              -> {"done"}               and clear the momentum

and optionally

    train_adam(x, y, learning_rate, beta_1, beta_2, epsilon)         one step of Adam, same outputs
    get_state()                            -> {optimizer state}      its momentum, for example
    set_state(optimizer state)             -> {"done"}               without these two none is kept
    set_terms(a factor of each weight)     -> {"done"}               and keep the base: the weights
    train_terms(as train, and proximal)                              with a strategy's terms
    train_adam_terms(as train_adam, and proximal)

where the weight `layers.0.bias` is called `layers__0__bias`. The batch dimension is open (None), so
that the shorter last batch fits. A file without the output "correct" has the mean squared error as
its loss, and its targets and outputs are quantities. With "correct", targets are class numbers if
`y` is an integer, else one binary class for each output; outputs are probabilities, unless `infer`
returns these as "probabilities" next to the scores. A file with the input `seed` has dropout.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fedbus.data import Dataset
from fedbus.errors import TrainingError
from fedbus.frameworks.outputs import OutputActivation
from fedbus.frameworks.stateful import StatefulTrainer
from fedbus.frameworks.tflite.calls import (
    read_weights,
    run,
    set_terms,
    set_weights,
    typed_rows,
)
from fedbus.frameworks.tflite.file import Signature, open_architecture
from fedbus.frameworks.tflite.file_loss import FileLoss
from fedbus.frameworks.tflite.optimizer_state import has_state, restore_state, state_arrays
from fedbus.frameworks.tflite.signatures import PROXIMAL, SET_TERMS, TERM_STEPS
from fedbus.model.layout import Array, Layout, Weights
from fedbus.training.labels import sample_classes
from fedbus.training.local_terms import LocalTerms
from fedbus.training.options import check_supported
from fedbus.training.params import Architecture, TrainingParams, Update
from fedbus.training.running_metrics import RunningMetrics

PREDICTED_BYTES = 256 * 2**20
"""Memory of the file's tensors for the rows that are predicted at once."""
_ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
"""Inputs of `train_adam` next to the learning rate, with the defaults of Keras."""
_SEEDS = 1021
_DRAWS = 2
"""Part of the seed for sampled classes, so that they differ from other uses of a task's seed."""


class TfliteTrainer(StatefulTrainer):
    """Trains, evaluates and runs one `.tflite` file on the CPU, in one thread.

    Raises:
        PluginError: No TFLite runtime is installed, or none that works with this version of numpy.
        TrainingError: The architecture is no `.tflite` file with the four signatures.

    Methods raise the errors of the protocols in `fedbus.plugins`, and LayoutError for weights of
    another model.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self._architecture = architecture
        signatures, facts = open_architecture(architecture)
        self._at_once = max(1, PREDICTED_BYTES // max(1, facts.bytes))
        self._signatures = signatures
        self._train = signatures["train"]
        self._terms = LocalTerms()
        self._infer = signatures["infer"]
        self._get = signatures["get_weights"]
        self._set = signatures["set_weights"]
        self._get_state = signatures.get("get_state")
        self._set_state = signatures.get("set_state")
        self._inputs = self._train.get_input_details()
        self._layout = Layout.of(read_weights(self._get))
        self._loss = FileLoss(self._train, self._infer)
        self._is_steady = facts.signatures["infer"].is_steady

    @property
    def output_activation(self) -> OutputActivation:
        """The last operation of the file's `infer`."""
        return self._loss.output_activation

    @property
    def is_steady(self) -> bool:
        """Whether the numbers in the inputs do not decide how long `infer` computes."""
        return self._is_steady

    @property
    def declared_loss(self) -> str:
        """The loss of the file's training step."""
        return self._loss.declared

    def initial(self) -> Weights:
        """Return the weights that the file was exported with."""
        return read_weights(open_architecture(self._architecture)[0]["get_weights"])

    def load(self, weights: Weights) -> None:
        """Copy weights into the file, and clear its optimizer state; raise LayoutError if unfit."""
        self._layout.check(weights)
        set_weights(self._set, weights)

    def use_local_terms(self, terms: LocalTerms) -> None:
        """Add terms to the loss of the next `train`.

        Raises:
            TrainingError: They do not fit the model, or its file was exported without them.
        """
        terms.check(self._layout)
        if not terms.empty and SET_TERMS not in self._signatures:
            raise TrainingError(
                "this model's .tflite file was not exported for a strategy's terms; export it "
                "again with `fedbus models push package.module:factory --local-terms`"
            )
        self._terms = terms

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        """Train one step of SGD or Adam for each batch; metrics are means over all batches."""
        found = self._take_loaded_state()
        terms, self._terms = self._terms, LocalTerms()
        check_supported("tflite", replace(params, metrics=()))
        step, fixed = self._step(params, terms)
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
        if not terms.empty:
            set_terms(self._signatures[SET_TERMS], terms.linear, self._layout)
        running = RunningMetrics()
        rng = np.random.default_rng((params.seed, _DRAWS))
        for x, y in data.steps(params):
            target = self._loss.target(x, y)
            if self._loss.by_class:  # the file's step takes class numbers only
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
            self._offer_state(lambda: state)
        return Update(read_weights(self._get), data.examples, self._loss.metrics(running))

    def evaluate(
        self, weights: Weights, data: Dataset, params: TrainingParams
    ) -> Mapping[str, float]:
        """Measure the mean `loss` of weights, and of classes the `accuracy`, 0 to 1."""
        self._loss.check(params)
        self.load(weights)
        running = RunningMetrics()
        for x, y in data.batches():
            target = self._loss.target(x, y)
            running.add(**self._loss.measure(self._answer(x), target), examples=len(y))
        return self._loss.metrics(running)

    def predict(self, inputs: Array) -> Array | Mapping[str, Array]:
        """Return the `outputs` of the file's `infer`, or all outputs by name if it has others.

        Inputs and outputs have shape (rows, …).

        Raises:
            TrainingError: The inputs do not fit the model.
        """
        found = self._answer(inputs)
        others = found.keys() - {"outputs", "probabilities"}
        return {n: found[n] for n in sorted({"outputs", *others})} if others else found["outputs"]

    def _answer(self, inputs: Array) -> dict[str, Array]:
        """Call `infer` in parts, so that the memory of its tensors stays bounded."""
        rows, most = typed_rows("x", self._inputs["x"], inputs), self._at_once
        parts = [run(self._infer, {"x": rows[n : n + most]}) for n in range(0, len(rows), most)]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _step(
        self, params: TrainingParams, terms: LocalTerms
    ) -> tuple[Signature, dict[str, Array | np.float32]]:
        """Return the signature of the training step, and its inputs next to the rows."""
        self._loss.check(params)
        fixed: dict[str, Array | np.float32] = {"learning_rate": np.float32(params.learning_rate)}
        if "seed" in self._inputs:
            fixed["seed"] = np.float32(params.seed % _SEEDS)
        if not terms.empty:
            fixed[PROXIMAL] = np.float32(terms.proximal)
        if params.optimizer == "adam":
            if "train_adam" not in self._signatures:
                raise TrainingError("this .tflite file was exported without adam")
            for name, default in _ADAM.items():
                fixed[name] = np.float32(params.number(name, default))
            return self._signature("train_adam", terms), fixed
        momentum = params.number("momentum", 0.0)
        if "momentum" in self._inputs:
            fixed["momentum"] = np.float32(momentum)
        elif momentum:
            raise TrainingError("this .tflite file was exported without momentum")
        return self._signature("train", terms), fixed

    def _signature(self, step: str, terms: LocalTerms) -> Signature:
        return self._signatures[step if terms.empty else TERM_STEPS[step]]
