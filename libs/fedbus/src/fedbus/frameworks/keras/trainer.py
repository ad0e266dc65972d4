"""Trainer of Keras models."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import keras
import numpy as np

from fedbus.data import Dataset
from fedbus.errors import TrainingError
from fedbus.frameworks.keras.architectures import (
    build,
    check_shapes,
    declared_loss,
    output_activation_of,
)
from fedbus.frameworks.keras.devices import has_bfloat16
from fedbus.frameworks.keras.losses import loss_of, metrics_of, target_of
from fedbus.frameworks.keras.optimizer_state import counters, restore_state, state_arrays
from fedbus.frameworks.keras.optimizers import callback_of, initial_values, optimizer_of
from fedbus.frameworks.keras.tensors import roles_of, set_weights, weights_of
from fedbus.frameworks.keras.term_variables import TermVariables
from fedbus.frameworks.stateful import StatefulTrainer
from fedbus.model.layout import DTYPES, Array, Layout, Role, Weights
from fedbus.training.local_terms import LocalTerms
from fedbus.training.options import check_supported
from fedbus.training.params import Architecture, TrainingParams, Update

_OPEN: Final = 8
_SEED_STATE: Final = "seed_generator_state"


class KerasTrainer(StatefulTrainer):
    """Trains, evaluates and runs one model with Keras.

    Methods raise the errors of the protocols in `fedbus.plugins`, and LayoutError for weights of
    another model; the constructor raises TrainingError for an architecture that is not valid.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self._architecture = architecture
        self._net = build(architecture)
        check_shapes(self._net)
        self._precision = "full"
        self._layout = Layout.of(weights_of(self._net), roles_of(self._net))
        self._compiled: tuple[tuple[object, ...], list[Array]] | None = None  # with its first state
        self._terms = LocalTerms()
        self._term_variables: TermVariables | None = None
        self.output_activation = output_activation_of(self._net)
        self.declared_loss = declared_loss(self._net)

    def initial(self) -> Weights:
        """Return the initial weights, drawn from the model's seed."""
        return weights_of(build(self._architecture))

    def rows_to_try(self) -> tuple[tuple[int, ...], ...]:
        """Return the shape of a row that the model takes; open lengths are 8."""
        return (tuple(size or _OPEN for size in self._net.input_shape[1:]),)

    def roles(self) -> Mapping[str, Role]:
        """Return the roles of tensors that no gradient changes."""
        return roles_of(self._net)

    def load(self, weights: Weights) -> None:
        """Copy weights into the model; raise LayoutError if they do not fit it."""
        self._layout.check(weights)
        set_weights(self._net, weights)

    def use_local_terms(self, terms: LocalTerms) -> None:
        """Add terms to the loss of the next `train`; raise TrainingError if they do not fit."""
        terms.check(self._layout)
        self._terms = terms

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        """Train one step for each batch; metrics are those of the last epoch, as in Keras."""
        found = self._take_loaded_state()
        terms, self._terms = self._terms, LocalTerms()
        check_supported("keras", params)
        self._compile(params, terms)
        self.load(weights)
        if self._term_variables is not None:
            self._term_variables.assign(terms)
        del terms  # in the variables now
        callback = callback_of(params.scheduler)
        callback.set_model(self._net)
        callback.on_train_begin({})
        if found is not None:
            restore_state(self._net.optimizer, callback, params, found)
        del found  # as large as the optimizer's own state
        self._seed(params.seed)
        metrics = self._walk(data, params, callback)
        callback.on_train_end({})
        self._net.optimizer.finalize_variable_values(self._net.trainable_variables)
        if params.keep_optimizer_state:
            optimizer, counted = self._net.optimizer, counters(callback)
            self._offer_state(lambda: state_arrays(optimizer, counted, params))
        return Update(weights_of(self._net), data.examples, metrics)

    def evaluate(
        self, weights: Weights, data: Dataset, params: TrainingParams
    ) -> Mapping[str, float]:
        """Measure the mean `loss` and the job's metrics of weights."""
        scored = TrainingParams(loss=params.loss, metrics=params.metrics)
        check_supported("keras", scored)
        if self._compiled is None or self._compiled[0][:3] != _measured(scored):
            self._compile(
                scored, LocalTerms()
            )  # otherwise the model compiled for training measures the same
        self.load(weights)
        metrics: Mapping[str, Any] = {}
        for x, y in data.batches():
            rows, target = self._batch(x, y, params.loss)
            with _translated_errors(x):
                if metrics:
                    metrics = self._net.test_function(iter([(rows, target, None)]))
                else:  # resets the metrics
                    metrics = self._net.test_on_batch(rows, target, return_dict=True)
        return _checked_metrics(metrics)

    def predict(self, inputs: Array) -> Array:
        """Return the outputs of the model itself: inputs and outputs have shape (rows, …).

        Raises:
            TrainingError: The inputs do not fit the model.
        """
        with _translated_errors(inputs):
            answers = self._net(self._rows(inputs), training=False)
        found: Array = keras.ops.convert_to_numpy(answers)
        return found if found.dtype.name in DTYPES else found.astype(np.float32)

    def _compile(self, params: TrainingParams, terms: LocalTerms) -> None:
        """Compile the model, or only reset its optimizer state if it is compiled so already.

        Compiling and tracing a model takes seconds.
        """
        args = sorted(params.optimizer_args.items())
        kinds = (terms.proximal > 0, bool(terms.linear))
        wanted = (*_measured(params), params.optimizer, args, kinds)
        if self._compiled is None or self._compiled[0] != wanted:
            precision = params.precision if has_bfloat16() else "full"
            if precision != self._precision:
                self._net = build(self._architecture, precision)
                self._precision = precision
            self._term_variables = None
            if any(kinds):
                self._term_variables = TermVariables(self._net, proximal=kinds[0], linear=kinds[1])
            optimizer = optimizer_of(params, self._term_variables)
            probable = self.output_activation != "scores"
            self._net.compile(
                optimizer=optimizer,
                loss=loss_of(params.loss, probable=probable),
                metrics=metrics_of(
                    params.metrics,
                    params.loss,
                    probable=probable,
                    outputs=int(self._net.output_shape[-1] or 1),
                ),
                jit_compile=params.optimizer_args.get("jit_compile") is True,
            )
            optimizer = self._net.optimizer  # in mixed_float16 a wrapper, which scales the loss
            optimizer.build(self._net.trainable_variables)
            self._compiled = (
                wanted,
                [initial_values(np.array(each)) for each in optimizer.variables],
            )
        for variable, first in zip(self._net.optimizer.variables, self._compiled[1], strict=True):
            variable.assign(np.broadcast_to(first, variable.shape))
        self._net.optimizer.learning_rate = params.learning_rate
        self._net.stop_training = False

    def _seed(self, seed: int) -> None:
        """Seed the random layers with a task's seed."""
        drawing = [v for v in self._net.variables if v.path.rpartition("/")[2] == _SEED_STATE]
        own = np.random.default_rng(seed).integers(2**31, size=len(drawing))
        for variable, number in zip(drawing, own, strict=True):
            variable.assign(np.array([number, 0]))

    def _walk(self, data: Dataset, params: TrainingParams, callback: Any) -> dict[str, float]:  # noqa: ANN401 - Keras has no types
        values: dict[str, float] = {}
        for epoch, batches in enumerate(data.epochs(params)):
            metrics: Mapping[str, Any] = {}
            callback.on_epoch_begin(epoch)
            for step, (x, y) in enumerate(batches):
                rows, target = self._batch(x, y, params.loss)
                with _translated_errors(x):
                    if metrics:
                        metrics = self._net.train_function(iter([(rows, target, None)]))
                    else:  # resets the metrics
                        metrics = self._net.train_on_batch(rows, target, return_dict=True)
                callback.on_train_batch_end(step, metrics)
                if self._net.stop_training:
                    break
            values = _checked_metrics(metrics)
            callback.on_epoch_end(epoch, dict(values))
            if self._net.stop_training:
                break
        return values

    def _batch(self, x: Array, y: Array, loss: str) -> tuple[Array, Array]:
        return self._rows(x), target_of(y, tuple(self._net.output_shape[1:]), loss)

    def _rows(self, x: Array) -> Array:
        wanted = tuple(self._net.input_shape[1:])
        fits = x.ndim == len(wanted) + 1 and all(
            w in {None, n} for n, w in zip(x.shape[1:], wanted, strict=True)
        )
        if not fits or not len(x) or x.dtype.kind not in "biuf":
            shape = ("rows", *wanted)
            raise TrainingError(f"x is {x.dtype} {x.shape}; the model takes {shape}")
        return x.astype(np.float64 if self._net.compute_dtype == "float64" else np.float32)


def _measured(params: TrainingParams) -> tuple[object, ...]:
    """Return the parameters that decide which metrics a compiled model has."""
    return params.loss, params.metrics, params.precision


def _checked_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    values = {name: float(value) for name, value in metrics.items()}
    if not values:
        raise TrainingError("expected at least one example, got an empty data set")
    if not np.isfinite(values["loss"]):
        raise TrainingError(
            f"the loss is {values['loss']} after training; a lower learning_rate may help"
        )
    return values


@contextmanager
def _translated_errors(x: Array) -> Iterator[None]:
    """Translate errors of TensorFlow; keep the first line of their text."""
    try:
        yield
    except (ValueError, TypeError, RuntimeError) as error:
        line = str(error).strip().partition("\n")[0]
        raise TrainingError(f"the model cannot take x, {x.dtype} {x.shape}: {line}") from error
