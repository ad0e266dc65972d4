"""Optimizers and callbacks of Keras by the job file's names."""

from collections.abc import Mapping
from typing import Any, Final

import keras
import numpy as np

from fedbus.errors import TrainingError
from fedbus.frameworks.keras.term_variables import TermVariables, adding
from fedbus.model.layout import Array
from fedbus.training.options import LOWER_IS_BETTER, accepted_args
from fedbus.training.params import SchedulerParams, TrainingParams

_OPTIMIZERS: Final[Mapping[str, str]] = {
    "sgd": "SGD", "rmsprop": "RMSprop", "adam": "Adam", "adadelta": "Adadelta",
    "adagrad": "Adagrad", "adamax": "Adamax", "nadam": "Nadam", "ftrl": "Ftrl",
}  # fmt: skip
_CALLBACKS: Final[Mapping[str, str]] = {
    "earlystopping": "EarlyStopping",
    "reducelronplateau": "ReduceLROnPlateau",
}


def optimizer_of(params: TrainingParams, terms: TermVariables | None = None) -> Any:  # noqa: ANN401 - Keras has no types
    """Create a job's optimizer; raise TrainingError if Keras does not take the arguments."""
    args = dict(accepted_args("keras", params.optimizer, params.optimizer_args))
    args.pop("jit_compile", None)  # of the model, since Keras 3
    try:
        kind = getattr(keras.optimizers, _OPTIMIZERS[params.optimizer])
        made = kind if terms is None else adding(kind, terms)
        return made(learning_rate=params.learning_rate, **args)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"keras: {params.optimizer}: {error}") from error


class _TerminateOnNaN(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Stops the training once the loss is not finite; that of Keras prints a line each time."""

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any]) -> None:  # noqa: ARG002 - Keras's
        self.model.stop_training |= not np.isfinite(float(logs["loss"]))


def callback_of(chosen: SchedulerParams | None) -> Any:  # noqa: ANN401 - Keras has no types
    """Create the callback that a job names as its scheduler; None: one that does nothing.

    Raises:
        TrainingError: Keras does not take the arguments.
    """
    if chosen is None:
        return keras.callbacks.Callback()
    if chosen.name == "terminateonnan":
        return _TerminateOnNaN()
    args: dict[str, Any] = dict(chosen.args)
    monitor = args.setdefault("monitor", "loss")
    if args.get("mode", "auto") == "auto":
        # Keras knows this for its own metrics, but not for those wrapped for models of scores.
        args["mode"] = "min" if monitor in LOWER_IS_BETTER else "max"
    try:
        return getattr(keras.callbacks, _CALLBACKS[chosen.name])(**args)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"keras: {chosen.name}: {error}") from error


def initial_values(values: Array) -> Array:
    """Return a variable's initial values, as one number if all are equal: this saves memory."""
    constant = values.size and (values == values.flat[0]).all()
    return np.array(values.flat[0]) if constant else values
