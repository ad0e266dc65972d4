"""Architectures of Keras models, by name.

An architecture is data, never code: `{"name": "sequential", "config": {"input": [64], "layers":
[["Dense", {"units": 32, "activation": "relu"}], ["Dense", {"units": 10}]]}}`, or the name of an
installed plug-in of the group `models`.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import keras
import numpy as np

from fedbus import plugins
from fedbus.errors import PluginError, TrainingError
from fedbus.frameworks.keras.layers import policy_of, read_layers
from fedbus.frameworks.outputs import OutputActivation
from fedbus.limits import MAX_MODEL_NUMBERS
from fedbus.training.options.keras_options import LOSSES
from fedbus.training.params import Architecture

SEQUENTIAL: Final = "sequential"
_PROBABLE: Final[tuple[OutputActivation, ...]] = ("softmax", "sigmoid")
_ALIASES: Final = {"bce": "binary_crossentropy", "kld": "kl_divergence"}
"""Keras's own short names of losses that a job file calls by their long ones."""
_SHAPING: Final = frozenset({"Dropout", "Flatten", "Permute", "Reshape"})


def build(architecture: Architecture, precision: str = "full") -> Any:  # noqa: ANN401 - Keras has no types
    """Build an architecture's model with its initial weights; raise TrainingError if not valid."""
    name, config = architecture.get("name"), architecture.get("config", {})
    if not isinstance(name, str):
        raise TrainingError(f"no Keras model named {name!r}; 'sequential' is one, or a plug-in")
    if not isinstance(config, Mapping):
        raise TrainingError(f"the config of {name!r} is {type(config).__name__}, not a map")
    before = keras.config.dtype_policy()
    wanted = "mixed_bfloat16" if precision == "mixed" else "float32"
    own = policy_of(config) if name == SEQUENTIAL else None
    keras.config.set_dtype_policy(own or wanted)
    try:
        return _sequential(config) if name == SEQUENTIAL else _installed(name, config)
    finally:
        keras.config.set_dtype_policy(before)


def _sequential(config: Mapping[str, Any]) -> Any:  # noqa: ANN401 - Keras has no types
    row, layers, seed = read_layers(config)
    model = keras.Sequential([keras.Input(row)])
    numbers, shape = 0, row
    _check_row("input", row)
    for index, layer in enumerate(layers):
        numbers += layer.numbers(shape)
        if numbers > MAX_MODEL_NUMBERS:
            raise TrainingError(f"a model of more than {MAX_MODEL_NUMBERS} numbers")
        try:
            model.add(getattr(keras.layers, layer.kind)(**layer.config))
            shape = tuple(model.output_shape[1:])
        except (TypeError, ValueError) as error:
            raise TrainingError(f"layer {index}, {layer.kind}: {_first_line(error)}") from error
        _check_row(f"layer {index}, {layer.kind}", shape)
    _draw(model, np.random.default_rng(seed))
    return model


def _check_row(where: str, shape: tuple[int | None, ...]) -> None:
    """Reject shapes too large for memory: a few weights can produce any number of outputs."""
    if (numbers := math.prod(length or 1 for length in shape)) > MAX_MODEL_NUMBERS:
        raise TrainingError(
            f"{where}: {numbers} numbers for each row, shape {shape}; at most {MAX_MODEL_NUMBERS}"
        )


def _installed(name: str, config: Mapping[str, Any]) -> Any:  # noqa: ANN401 - Keras has no types
    try:
        model = plugins.load("models", name)(config)
    except PluginError as error:
        raise TrainingError(f"no Keras model named {name!r}: {error}") from error
    if not isinstance(model, keras.Model):
        made = type(model).__name__
        raise TrainingError(f"the model plug-in {name!r} made a {made}, not a keras.Model")
    return model


def check_shapes(model: Any) -> None:  # noqa: ANN401 - Keras has no types
    """Raise TrainingError unless a model is built, with one input and one output tensor."""
    kind = type(model).__name__
    if not model.built:
        raise TrainingError(
            f"a {kind} that is not built has no weights: give it a keras.Input, or call it once"
        )
    for what in ("input", "output"):
        try:
            shape = getattr(model, f"{what}_shape")
        except (AttributeError, ValueError) as error:
            raise TrainingError(
                f"a {kind} that does not say its {what}'s shape: make it of keras.Input and layers"
            ) from error
        if not isinstance(shape, tuple):
            tensors = [tensor.name for tensor in getattr(model, f"{what}s")]
            names = ", ".join(getattr(model, f"{what}_names", tensors))
            raise TrainingError(
                f"the {kind} has {len(tensors)} {what}s, {names}; agents train models of one {what}"
            )


def _draw(model: Any, rng: np.random.Generator) -> None:  # noqa: ANN401 - Keras has no types
    """Initialize kernels with numpy, as for the other frameworks, so that all start alike.

    Keras itself draws from one random stream for the whole process. Kernels are normal with the
    variance of K. He et al. 2015 (arXiv 1502.01852), 2 / inputs.
    """
    for layer in model.layers:
        for variable in layer.weights:
            own, shape = variable.path.rpartition("/")[2], tuple(variable.shape)
            if own in {"kernel", "recurrent_kernel"}:
                spread = np.sqrt(2 / np.prod(shape[:-1]))
            elif own == "embeddings":
                spread = np.sqrt(1 / shape[-1])
            else:
                continue
            variable.assign(rng.normal(0, spread, shape).astype(np.float32))


def output_activation_of(model: Any) -> OutputActivation:  # noqa: ANN401 - Keras has no types
    """Return a model's last operation; of several outputs, that of the first."""
    try:
        last = _operation(model.outputs[0])
    except (AttributeError, IndexError, ValueError):  # a subclass: only its layers are known
        last = model.layers[-1] if model.layers else None
    while type(last).__name__ in _SHAPING:
        last = _operation(last.input)
    kind = type(last).__name__.casefold()
    for activation in _PROBABLE:
        if activation in {kind, getattr(getattr(last, "activation", None), "__name__", "")}:
            return activation
    return "scores"


def _operation(tensor: Any) -> Any:  # noqa: ANN401 - Keras has no types
    return tensor._keras_history.operation  # noqa: SLF001 - Keras has no public name for it


def declared_loss(model: Any) -> str | None:  # noqa: ANN401 - Keras has no types
    """Return the loss that a model is compiled with, by the job file's name; None if none."""
    loss = getattr(model, "loss", None)
    if isinstance(loss, Mapping):
        loss = list(loss.values())
    if isinstance(loss, list | tuple):
        loss = loss[0] if len(loss) == 1 else None
    if not loss:
        return None
    own = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    own = _ALIASES.get(own.casefold(), own)
    plain = own.replace("_", "").casefold()
    return next((name for name in sorted(LOSSES) if plain == name.replace("_", "")), own)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
