"""What agents need of somebody's own Keras model: structures, a TFLite file, weights; no code."""

import warnings
from typing import Any, Final

import keras

from fedbus.errors import TrainingError
from fedbus.exported import Exported
from fedbus.frameworks.keras.export import Loss
from fedbus.frameworks.keras.export import export as to_tflite
from fedbus.frameworks.keras.layers import KINDS, POLICIES, read_layers
from fedbus.frameworks.keras.models import SEQUENTIAL, build, check_shapes
from fedbus.frameworks.keras.tensors import roles_of, weights_of
from fedbus.layout import Layout, listed
from fedbus.training import Structure

FILE: Final = "model.tflite"
_SQUARED: Final = frozenset({"mse", "mean_squared_error", "MeanSquaredError"})
_ELSEWHERE: Final = ("initializer", "name", "dtype", "seed", "trainable", "quantization_config")
"""What a card does not say of a layer: its first weights are pushed, and names are the bus's."""


def export(model: Any, plugin: Structure | None) -> Exported:  # noqa: ANN401 - Keras has no types
    """Make a card's parts of a `keras.Model`, with the weights that it has now.

    A model that is compiled for the mean squared error answers values, any other one classes. Where
    TFLite cannot train a layer, a warning names it and the card has no file for such agents.

    Args:
        model: The model, built.
        plugin: The installed plug-in that makes it, and the config; None if there is none.

    Raises:
        TrainingError: agents could not make it again: a layer or an argument is not known to them.
    """
    check_shapes(model)
    values = _of_values(model)
    structure = dict(structure_of(model) if plugin is None else plugin)
    if values:
        structure["answers"] = "values"
    weights = weights_of(model)
    again = weights_of(build(structure))
    if Layout.of(again) != Layout.of(weights):
        differs = listed(
            name
            for name in again.keys() | weights.keys()
            if name not in again
            or name not in weights
            or Layout.of({name: again[name]}) != Layout.of({name: weights[name]})
        )
        made = f"{structure['name']!r} makes another layout than this model has"
        raise TrainingError(f"{made}: {differs}")
    roles = roles_of(model)
    loss: Loss = "mean_squared_error" if values else "categorical_crossentropy"
    try:
        file = to_tflite(model, loss)
    except TrainingError as error:
        warnings.warn(f"no TFLite file, so Keras agents only: {error}", stacklevel=2)
        return Exported({"keras": structure}, weights, input=_input_of(model), roles=roles)
    structures = {"keras": structure, "tflite": {"blob": FILE}}
    return Exported(structures, weights, {FILE: file}, _input_of(model), roles)


def structure_of(model: Any) -> dict[str, Any]:  # noqa: ANN401 - Keras has no types
    """Describe a built `keras.Sequential` of layers that agents know.

    Raises:
        TrainingError: it is something else, or a layer has an argument that agents do not take.
    """
    if type(model) is not keras.Sequential or not model.built:
        raise TrainingError(
            f"a {type(model).__name__}: agents make a built keras.Sequential again, or what an "
            'installed plug-in of the group "fedbus.models" makes'
        )
    layers = [_layer(index, layer) for index, layer in enumerate(model.layers)]
    config: dict[str, Any] = {"input": list(model.input_shape[1:]), "layers": layers}
    if (policy := _policy_of(model)) != "float32":
        config["dtype"] = policy
    read_layers(config)
    return {"name": SEQUENTIAL, "config": config}


def _policy_of(model: Any) -> str:  # noqa: ANN401 - Keras has no types
    first: str = model.layers[0].dtype_policy.name
    for index, layer in enumerate(model.layers):
        where, own = f"layer {index}, {type(layer).__name__}", layer.dtype_policy.name
        if own not in POLICIES:
            raise TrainingError(f"{where}: no dtype {own!r}; there is {listed(POLICIES)}")
        if own != first:
            raise TrainingError(
                f"{where}: dtype {own!r}, where layer 0 has {first!r}; agents make all layers of a "
                "keras.Sequential of one dtype"
            )
    return first


def _layer(index: int, layer: Any) -> list[Any]:  # noqa: ANN401 - Keras has no types
    kind, said = type(layer).__name__, layer.get_config()
    known = KINDS.get(kind)
    if known is None or type(layer) is not getattr(keras.layers, kind, None):
        raise TrainingError(f"layer {index}: no layer {kind!r}; there is {', '.join(KINDS)}")
    args = {name: said[name] for name in known.takes if said.get(name) is not None}
    again = type(layer)(**args).get_config()
    for name, value in said.items():
        if not name.endswith(_ELSEWHERE) and again.get(name) != value:
            raise TrainingError(f"layer {index}, {kind}: agents do not take {name} {value}")
    return [kind, {name: list(v) if isinstance(v, tuple) else v for name, v in args.items()}]


def _input_of(model: Any) -> tuple[int, ...] | None:  # noqa: ANN401 - Keras has no types
    shape = model.input_shape
    known = isinstance(shape, tuple) and all(isinstance(size, int) for size in shape[1:])
    return tuple(shape[1:]) if known else None


def _of_values(model: Any) -> bool:  # noqa: ANN401 - Keras has no types
    loss = getattr(model, "loss", None)
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return name in _SQUARED
