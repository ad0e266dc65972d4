"""Export a Keras model as a `.tflite` file that tflite-runtime can train as well as run.

The file has all signatures that `fedbus.frameworks.tflite.trainer` can use, and the model's
weights. Only TFLite's builtin operators are used.
"""

from collections.abc import Mapping
from typing import Any, Final

import tensorflow as tf

from fedbus.errors import TrainingError
from fedbus.frameworks.keras.tensors import named
from fedbus.frameworks.keras.tflite_network import LayerPart, Loss, TrainableNetwork
from fedbus.interruption import temporary_folder

LAYERS: Final = (
    "Dense", "Conv2D", "DepthwiseConv2D", "MaxPooling2D", "AveragePooling2D", "Flatten", "ReLU",
    "Softmax", "Dropout",
)  # fmt: skip
_ACTIVATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "linear": (), "relu": ("ReLU",), "softmax": ("Softmax",), "sigmoid": ("Sigmoid",),
}  # fmt: skip
_FIXED: Final[Mapping[str, Any]] = {
    "dilation_rate": (1, 1), "groups": 1, "data_format": "channels_last", "max_value": None,
    "negative_slope": 0.0, "threshold": 0.0, "axis": -1, "noise_shape": None,
    "kernel_regularizer": None, "bias_regularizer": None, "activity_regularizer": None,
    "depthwise_regularizer": None, "kernel_constraint": None, "bias_constraint": None,
    "depthwise_constraint": None,
}  # fmt: skip
"""Arguments of layers that must have these default values."""


def export(
    model: Any,  # noqa: ANN401 - Keras has no types
    loss: Loss = "categorical_crossentropy",
    *,
    local_terms: bool = False,
) -> bytes:
    """Export a built `keras.Sequential` with a loss, and return the `.tflite` file.

    With the categorical cross-entropy, targets are class numbers, and the model may end in a
    softmax; with the binary one each output is a binary class, and the model may end in a sigmoid.
    The signature `infer` returns the model's outputs, and probabilities if these are scores.

    With `local_terms` the file can be trained with a strategy's terms as well: it has two more
    training steps, and agents hold two more copies of the weights in memory.

    Raises:
        TrainingError: A layer, an argument or an activation cannot be exported.
    """
    parts = _parts(model, loss)
    network = TrainableNetwork(parts, named(model), loss, local_terms=local_terms)
    x = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    y = (
        tf.TensorSpec((None,), tf.int32)
        if loss == "categorical_crossentropy"
        else tf.TensorSpec((None, *model.output_shape[1:]), tf.float32)
    )
    number = tf.TensorSpec((), tf.float32)
    kinds = {name: tf.TensorSpec(w.shape, w.dtype, name) for name, w in network.numbers.items()}
    held = {name: tf.TensorSpec(v.shape, v.dtype, name) for name, v in network.state.items()}
    signatures = {
        "train": network.train.get_concrete_function(x, y, *[number] * 3),
        "train_adam": network.train_adam.get_concrete_function(x, y, *[number] * 5),
        "infer": network.infer.get_concrete_function(x),
        "get_weights": network.get_weights.get_concrete_function(),
        "set_weights": network.set_weights.get_concrete_function(**kinds),
        "get_state": network.get_state.get_concrete_function(),
        "set_state": network.set_state.get_concrete_function(**held),
    }
    if local_terms:
        signatures |= {
            "set_terms": network.set_terms.get_concrete_function(**kinds),
            "train_terms": network.train_terms.get_concrete_function(x, y, *[number] * 4),
            "train_adam_terms": network.train_adam_terms.get_concrete_function(x, y, *[number] * 6),
        }
    with temporary_folder() as folder:
        tf.saved_model.save(network, str(folder), signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = True
        return bytes(converter.convert())


def _parts(model: Any, loss: Loss) -> list[LayerPart]:  # noqa: ANN401 - Keras has no types
    if type(model).__name__ != "Sequential" or not model.built:
        raise TrainingError("TFLite can be exported from a built keras.Sequential only")
    if any(n is None for n in (*model.input_shape[1:], *model.output_shape[1:])):
        raise TrainingError("TFLite: give the model an Input of a known shape")
    parts: list[LayerPart] = []
    for index, layer in enumerate(model.layers):
        kind, config = type(layer).__name__, layer.get_config()
        where = f"layer {index}, {kind}"
        if kind not in LAYERS:
            raise TrainingError(
                f"{where}: TFLite cannot be trained with it, only with {', '.join(LAYERS)}"
            )
        for name, value in config.items():
            given = tuple(value) if isinstance(value, list) else value
            if name in _FIXED and given != _FIXED[name]:
                raise TrainingError(f"{where}: TFLite cannot be trained with {name} {given}")
        activation = config.get("activation", "linear")
        if activation not in _ACTIVATIONS:
            known = ", ".join(_ACTIVATIONS)
            raise TrainingError(f"{where}: no activation {activation!r} with TFLite; {known}")
        if layer.variable_dtype != "float32" or layer.compute_dtype != "float32":
            policy = layer.dtype_policy.name
            raise TrainingError(f"{where}: TFLite cannot be trained in {policy}, only in float32")
        rows = layer.input.shape[1:]
        if kind == "Dense" and len(rows) != 1:
            raise TrainingError(f"{where}: inputs are {('rows', *rows)}; put a Flatten before it")
        parts.append(LayerPart(kind, config, rows, len(layer.weights) if kind != "Dropout" else 0))
        parts += [LayerPart(name, {}, ()) for name in _ACTIVATIONS[activation]]
    held = parts if loss != "binary_crossentropy" else parts[:-1]
    if any(part.kind == "Sigmoid" for part in held):
        raise TrainingError(
            "TFLite: a sigmoid can be trained at the end of a model of yes or no only, which is "
            "compiled for binary_crossentropy"
        )
    return parts
