"""Export of a user's Keras model: architectures, weights and a TFLite file; no code."""

import warnings
from typing import Any, Final

import keras

from fedbus.errors import TrainingError
from fedbus.frameworks.exported import ExportedModel, OutputFacts
from fedbus.frameworks.keras.architectures import (
    SEQUENTIAL,
    build,
    check_shapes,
    declared_loss,
    output_activation_of,
)
from fedbus.frameworks.keras.layers import KINDS, POLICIES, read_layers
from fedbus.frameworks.keras.tensors import roles_of, weights_of
from fedbus.frameworks.keras.tflite_export import export as to_tflite
from fedbus.frameworks.keras.tflite_network import Loss
from fedbus.frameworks.outputs import derive_answers
from fedbus.model.layout import Layout
from fedbus.text import listed
from fedbus.training.params import Architecture
from fedbus.wire.output_kinds import OutputKind

FILE: Final = "model.tflite"
_LOSSES: Final[dict[str, Loss]] = {
    **dict.fromkeys(
        ("categorical_crossentropy", "sparse_categorical_crossentropy"), "categorical_crossentropy"
    ),
    "binary_crossentropy": "binary_crossentropy",
    **dict.fromkeys(("mean_squared_error", "mse"), "mean_squared_error"),
}
"""Losses of TFLite files by the loss that a model is compiled with."""
_ELSEWHERE: Final = ("initializer", "name", "dtype", "seed", "trainable", "quantization_config")
"""Arguments of layers that a spec leaves out: weights are pushed, and names are not needed."""


def export(
    model: Any,  # noqa: ANN401 - Keras has no types
    plugin: Architecture | None,
    row: tuple[int, ...] | None = None,
    local_terms: bool = False,  # noqa: FBT001, FBT002 - as `row`; one type for all frameworks
) -> ExportedModel:
    """Export a `keras.Model` with its present weights.

    The meaning of its outputs follows from the loss that it is compiled with and from its last
    layer. If TFLite cannot train one of its layers, or with its loss, a warning is issued and the
    spec has no architecture for TFLite.

    Args:
        plugin: The architecture that names the plug-in which builds it; None if there is none.
        row: The shape of a row of inputs, where the model does not define it.
        local_terms: Whether the TFLite file can be trained with a strategy's terms.

    Raises:
        TrainingError: Agents could not build the model: a layer or an argument is unknown to them.
    """
    check_shapes(model)
    architecture = dict(architecture_of(model) if plugin is None else plugin)
    weights = weights_of(model)
    again = weights_of(build(architecture))
    if Layout.of(again) != Layout.of(weights):
        differs = listed(
            name
            for name in again.keys() | weights.keys()
            if name not in again
            or name not in weights
            or Layout.of({name: again[name]}) != Layout.of({name: weights[name]})
        )
        made = f"{architecture['name']!r} makes another layout than this model has"
        raise TrainingError(f"{made}: {differs}")
    own, output, loss = _input_of(model), _output_of(model), declared_loss(model)
    answers = (
        None
        if output is None
        else derive_answers(output_activation_of(model), output, own or row, loss)
    )
    try:
        file = to_tflite(model, trained_with(loss, answers), local_terms=local_terms)
    except TrainingError as error:
        warnings.warn(f"no TFLite file, so Keras agents only: {error}", stacklevel=2)
        architectures, files = {"keras": architecture}, {}
    else:
        architectures, files = {"keras": architecture, "tflite": {"blob": FILE}}, {FILE: file}
    seen = OutputFacts(answers=answers, output=_known(output))
    return ExportedModel(architectures, weights, files, own, roles_of(model), seen)


def trained_with(loss: str | None, answers: OutputKind | None) -> Loss:
    """Return the loss of a TFLite file: the declared one, or one that fits the outputs' meaning.

    Raises:
        TrainingError: TFLite does not have the declared loss.
    """
    if loss is None:
        if answers in {"classes", "probabilities"}:
            return "categorical_crossentropy"
        return "binary_crossentropy" if answers in {"labels", "logits"} else "mean_squared_error"
    found = _LOSSES.get(loss)
    if found is None:
        raise TrainingError(f"the model is compiled for {loss}; TFLite has {listed(_LOSSES)}")
    return found


def architecture_of(model: Any) -> dict[str, Any]:  # noqa: ANN401 - Keras has no types
    """Return the architecture of a built `keras.Sequential`.

    Raises:
        TrainingError: The model is of another class, or has a layer or argument that agents do not
            accept.
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
    kind, config = type(layer).__name__, layer.get_config()
    known = KINDS.get(kind)
    if known is None or type(layer) is not getattr(keras.layers, kind, None):
        raise TrainingError(f"layer {index}: no layer {kind!r}; there is {', '.join(KINDS)}")
    args = {name: config[name] for name in known.takes if config.get(name) is not None}
    again = type(layer)(**args).get_config()
    for name, value in config.items():
        if not name.endswith(_ELSEWHERE) and again.get(name) != value:
            raise TrainingError(f"layer {index}, {kind}: agents do not take {name} {value}")
    return [kind, {name: list(v) if isinstance(v, tuple) else v for name, v in args.items()}]


def _input_of(model: Any) -> tuple[int, ...] | None:  # noqa: ANN401 - Keras has no types
    shape = model.input_shape
    known = isinstance(shape, tuple) and all(isinstance(size, int) for size in shape[1:])
    return tuple(shape[1:]) if known else None


def _output_of(model: Any) -> tuple[int | None, ...] | None:  # noqa: ANN401 - Keras has no types
    """Return the shape of the output for one row; None for several outputs."""
    shape = getattr(model, "output_shape", None)
    return tuple(shape[1:]) if isinstance(shape, tuple) else None


def _known(shape: tuple[int | None, ...] | None) -> tuple[int, ...]:
    return tuple(n or 0 for n in shape) if shape and None not in shape else ()
