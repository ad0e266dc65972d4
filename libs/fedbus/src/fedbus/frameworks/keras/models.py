"""Models by name, and their weights as other frameworks lay them out.

The structure is data, never code: `{"name": "sequential", "config": {"input": [64], "layers":
[["Dense", {"units": 32, "activation": "relu"}], ["Dense", {"units": 10}]]}}`, or the name of an
installed plug-in of the group `models`. The weights of the i-th layer that has any are
`layers.i.weight` and `layers.i.bias`, shaped as Keras shapes them: a dense layer's is (inputs,
outputs). So agents of other frameworks average the same model.
"""

from collections.abc import Mapping
from typing import Any, Final

import keras
import numpy as np

from fedbus import plugins
from fedbus.errors import PluginError, TrainingError
from fedbus.frameworks.keras.layers import MAX_NUMBERS, read_layers
from fedbus.layout import Array, Weights
from fedbus.training import Structure

SEQUENTIAL: Final = "sequential"
_RENAMED: Final = {"kernel": "weight", "embeddings": "weight"}
_PROBABLE: Final = frozenset({"softmax", "sigmoid"})


def build(structure: Structure, precision: str = "full") -> Any:  # noqa: ANN401 - Keras has no types
    """Build what a structure names, with its first weights.

    Raises:
        TrainingError: it names nothing we know or that is installed, or configures it wrongly.
    """
    name, config = structure.get("name"), structure.get("config", {})
    if not isinstance(name, str):
        raise TrainingError(f"no Keras model named {name!r}; 'sequential' is one, or a plug-in")
    if not isinstance(config, Mapping):
        raise TrainingError(f"the config of {name!r} is {type(config).__name__}, not a map")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "mixed" else "float32")
    try:
        return _sequential(config) if name == SEQUENTIAL else _installed(name, config)
    finally:
        keras.config.set_dtype_policy(before)


def _sequential(config: Mapping[str, Any]) -> Any:  # noqa: ANN401 - Keras has no types
    row, layers, seed = read_layers(config)
    model = keras.Sequential([keras.Input(row)])
    numbers, shape = 0, row
    for index, layer in enumerate(layers):
        numbers += layer.numbers(shape)
        if numbers > MAX_NUMBERS:
            raise TrainingError(f"a model of more than {MAX_NUMBERS} numbers")
        try:
            model.add(getattr(keras.layers, layer.kind)(**layer.config))
            shape = tuple(model.output_shape[1:])
        except (TypeError, ValueError) as error:
            raise TrainingError(f"layer {index}, {layer.kind}: {_first_line(error)}") from error
    _draw(model, np.random.default_rng(seed))
    return model


def _installed(name: str, config: Mapping[str, Any]) -> Any:  # noqa: ANN401 - Keras has no types
    try:
        model = plugins.load("models", name)(config)
    except PluginError as error:
        raise TrainingError(f"no Keras model named {name!r}: {error}") from error
    if not isinstance(model, keras.Model):
        made = type(model).__name__
        raise TrainingError(f"the model plug-in {name!r} made a {made}, not a keras.Model")
    return model


def _draw(model: Any, rng: np.random.Generator) -> None:  # noqa: ANN401 - Keras has no types
    """Draw the first kernels with numpy, as our other frameworks do, so that all begin alike.

    Keras itself draws from one stream for the whole process. The spread is that of He et al., 2015.
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


def named(model: Any) -> dict[str, Any]:  # noqa: ANN401 - Keras has no types
    """Name a model's variables as the layout does, in its order."""
    found: dict[str, Any] = {}
    with_weights = [layer for layer in model.layers if layer.weights]
    for index, layer in enumerate(with_weights):
        for variable in layer.weights:
            if "seed_generator" in variable.path:
                continue
            own = variable.path.rpartition("/")[2]
            name = f"layers.{index}.{_RENAMED.get(own, own)}"
            if name in found:  # of a layer made of layers
                name = f"layers.{index}.{variable.path.replace('/', '.')}"
            found[name] = variable
    return found


def weights_of(model: Any) -> dict[str, Array]:  # noqa: ANN401 - Keras has no types
    """Copy a model's numbers."""
    return {name: np.array(variable) for name, variable in named(model).items()}


def set_weights(model: Any, weights: Weights) -> None:  # noqa: ANN401 - Keras has no types
    """Give a model numbers that are named and shaped as those of `weights_of`."""
    for name, variable in named(model).items():
        variable.assign(weights[name])


def answers_probabilities(model: Any) -> bool:  # noqa: ANN401 - Keras has no types
    """Tell whether a model's last layer makes probabilities of its scores."""
    last = model.layers[-1]
    if type(last).__name__ == "Softmax":
        return True
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    return activation in _PROBABLE


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
