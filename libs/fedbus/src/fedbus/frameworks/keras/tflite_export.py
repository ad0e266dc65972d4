"""Export a Keras model as a `.tflite` file that tflite-runtime can train as well as run.

The file has the signatures that `fedbus.frameworks.tflite.trainer` needs, and those it can do
without, with
the model's own weights in it. Only TFLite's builtin operators are used.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import tensorflow as tf

from fedbus.errors import TrainingError
from fedbus.frameworks.keras import backward
from fedbus.frameworks.keras.backward import Back, Step, Window
from fedbus.frameworks.keras.tensors import named
from fedbus.interruption import temporary_folder

Loss = Literal["categorical_crossentropy", "binary_crossentropy", "mean_squared_error"]

LAYERS: Final = (
    "Dense", "Conv2D", "DepthwiseConv2D", "MaxPooling2D", "AveragePooling2D", "Flatten", "ReLU",
    "Softmax", "Dropout",
)  # fmt: skip
_PLAIN: Final[Mapping[str, Step]] = {
    "Dense": backward.dense, "Flatten": backward.flatten,
    "ReLU": backward.relu, "Softmax": backward.softmax,
}  # fmt: skip
_WINDOWED: Final[Mapping[str, Callable[[Window], Step]]] = {
    "Conv2D": backward.conv, "DepthwiseConv2D": backward.depthwise,
    "MaxPooling2D": backward.max_pool, "AveragePooling2D": backward.average_pool,
}  # fmt: skip
_ACTIVATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "linear": (), "relu": ("ReLU",), "softmax": ("Softmax",), "sigmoid": ("Sigmoid",),
}  # fmt: skip
_SETTLED: Final[Mapping[str, Any]] = {
    "dilation_rate": (1, 1), "groups": 1, "data_format": "channels_last", "max_value": None,
    "negative_slope": 0.0, "threshold": 0.0, "axis": -1, "noise_shape": None,
    "kernel_regularizer": None, "bias_regularizer": None, "activity_regularizer": None,
    "depthwise_regularizer": None, "kernel_constraint": None, "bias_constraint": None,
    "depthwise_constraint": None,
}  # fmt: skip
"""Arguments that have to be what they are by default."""


def export(model: Any, loss: Loss = "categorical_crossentropy") -> bytes:  # noqa: ANN401 - Keras has no types
    """Export a built `keras.Sequential` with a loss; returns the `.tflite` file.

    With the cross-entropy, truths are class numbers and the last layer answers scores or, behind a
    softmax, probabilities; with the binary one each output is yes or no, behind a sigmoid or not.
    `infer` answers as the model itself does, and gives the probabilities beside scores.

    Raises:
        TrainingError: it has a layer, an argument or an activation that cannot be exported.
    """
    network = _Network(_parts(model, loss), named(model), loss)
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
    with temporary_folder() as folder:
        tf.saved_model.save(network, str(folder), signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = True
        return bytes(converter.convert())


@dataclass(frozen=True, slots=True)
class _Part:
    """A layer, or the activation behind one."""

    kind: str
    config: Mapping[str, Any]
    rows: Sequence[int]
    """The shape of one row of its inputs."""
    weights: int = 0


def _parts(model: Any, loss: Loss) -> list[_Part]:  # noqa: ANN401 - Keras has no types
    if type(model).__name__ != "Sequential" or not model.built:
        raise TrainingError("TFLite can be exported from a built keras.Sequential only")
    if any(n is None for n in (*model.input_shape[1:], *model.output_shape[1:])):
        raise TrainingError("TFLite: give the model an Input of a known shape")
    parts: list[_Part] = []
    for index, layer in enumerate(model.layers):
        kind, config = type(layer).__name__, layer.get_config()
        where = f"layer {index}, {kind}"
        if kind not in LAYERS:
            raise TrainingError(
                f"{where}: TFLite cannot be trained with it, only with {', '.join(LAYERS)}"
            )
        for name, value in config.items():
            given = tuple(value) if isinstance(value, list) else value
            if name in _SETTLED and given != _SETTLED[name]:
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
        parts.append(_Part(kind, config, rows, len(layer.weights) if kind != "Dropout" else 0))
        parts += [_Part(name, {}, ()) for name in _ACTIVATIONS[activation]]
    held = parts if loss != "binary_crossentropy" else parts[:-1]
    if any(part.kind == "Sigmoid" for part in held):
        raise TrainingError(
            "TFLite: a sigmoid can be trained at the end of a model of yes or no only, which is "
            "compiled for binary_crossentropy"
        )
    return parts


def _pair(value: Any) -> tuple[int, int]:  # noqa: ANN401 - a number or two
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _step(part: _Part, salt: int, draw: Any) -> Step:  # noqa: ANN401 - a tensor
    if part.kind in _PLAIN:
        return _PLAIN[part.kind]
    if part.kind == "Dropout":
        return backward.dropout(part.config["rate"], salt, draw)
    size = _pair(part.config.get("kernel_size", part.config.get("pool_size")))
    high, wide, _ = part.rows
    window = Window.over((high, wide), size, _pair(part.config["strides"]), part.config["padding"])
    return _WINDOWED[part.kind](window)


class _Network(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """A model's weights, and what its optimizers remember, as resource variables."""

    def __init__(self, parts: Sequence[_Part], variables: Mapping[str, Any], loss: Loss) -> None:
        super().__init__()
        self._by_class = loss == "categorical_crossentropy"
        self._binary = loss == "binary_crossentropy"
        own = {"categorical_crossentropy": "Softmax", "binary_crossentropy": "Sigmoid"}.get(loss)
        self._ends = parts[-1].kind == own
        if self._ends:
            parts = parts[:-1]  # the loss and `infer` have their own
        self._parts = tuple(parts)
        self.numbers = {
            name.replace(".", "__"): tf.Variable(tf.convert_to_tensor(v))
            for name, v in variables.items()
        }
        self.first = {name: tf.Variable(tf.zeros_like(w)) for name, w in self.numbers.items()}
        self.second = {name: tf.Variable(tf.zeros_like(w)) for name, w in self.numbers.items()}
        self.steps = tf.Variable(0.0)
        self.state = {
            **{f"first__{name}": v for name, v in self.first.items()},
            **{f"second__{name}": v for name, v in self.second.items()},
            "steps": self.steps,
        }

    def _forward(self, x: Any, draw: Any) -> tuple[Any, list[tuple[list[str], Back]]]:  # noqa: ANN401 - tensors
        names, way = list(self.numbers), []
        for salt, part in enumerate(self._parts):
            if part.kind == "Dropout" and draw is None:
                continue
            mine, names = names[: part.weights], names[part.weights :]
            weights = [self.numbers[name].read_value() for name in mine]
            x, back = _step(part, salt, draw)(x, weights)
            way.append((mine, back))
        return x, way

    def _gradients(self, x: Any, y: Any, draw: Any) -> tuple[dict[str, Any], dict[str, Any]]:  # noqa: ANN401 - tensors
        answers, way = self._forward(x, draw)
        rows = tf.cast(tf.shape(x)[0], tf.float32)
        if self._by_class:
            truth = tf.one_hot(y, int(answers.shape[-1]))
            loss = -tf.reduce_sum(truth * tf.nn.log_softmax(answers)) / rows
            g = (tf.nn.softmax(answers) - truth) / rows
            right = tf.equal(tf.argmax(answers, axis=-1, output_type=tf.int32), y)
            said = {"loss": loss, "correct": tf.reduce_sum(tf.cast(right, tf.float32))}
        elif self._binary:
            each = float(answers.shape[1:].num_elements())
            # log(1 + e^z) - z y, of numbers that cannot overflow
            tail = tf.math.log(1.0 + tf.exp(-tf.abs(answers)))
            loss = tf.reduce_sum(tf.maximum(answers, 0.0) - answers * y + tail) / rows / each
            g = (tf.sigmoid(answers) - y) / rows / each
            right = tf.cast(tf.equal(answers > 0.0, y > 0.5), tf.float32)  # noqa: PLR2004 - yes
            said = {"loss": loss, "correct": tf.reduce_sum(right) / each}
        else:
            each = float(answers.shape[1:].num_elements())
            off = answers - y
            said, g = {"loss": tf.reduce_sum(off * off) / rows / each}, 2.0 * off / rows / each
        found: dict[str, Any] = {}
        for names, back in reversed(way):
            g, of_weights = back(g)
            found.update(zip(names, of_weights, strict=True))
        return found, said

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # as all of TensorFlow
    def train(self, x: Any, y: Any, learning_rate: Any, momentum: Any, seed: Any) -> Any:  # noqa: ANN401 - tensors
        """Take one step of SGD: v = momentum · v + gradient; w = w - learning_rate · v."""
        steps = self.steps.read_value() + 1.0
        self.steps.assign(steps)
        found, said = self._gradients(x, y, steps + seed)
        for name, g in found.items():
            velocity = momentum * self.first[name].read_value() + g
            self.first[name].assign(velocity)
            self.numbers[name].assign(self.numbers[name].read_value() - learning_rate * velocity)
        return said

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # as all of TensorFlow
    def train_adam(  # noqa: PLR0913, PLR0917 - each has its name in the signature
        self,
        x: Any,  # noqa: ANN401 - tensors
        y: Any,  # noqa: ANN401
        learning_rate: Any,  # noqa: ANN401
        beta_1: Any,  # noqa: ANN401
        beta_2: Any,  # noqa: ANN401
        epsilon: Any,  # noqa: ANN401
        seed: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Take one step of Adam (Kingma and Ba, 2015), as Keras does."""
        steps = self.steps.read_value() + 1.0
        self.steps.assign(steps)
        found, said = self._gradients(x, y, steps + seed)
        rate = learning_rate * tf.sqrt(1.0 - beta_2**steps) / (1.0 - beta_1**steps)
        for name, g in found.items():
            mean = beta_1 * self.first[name].read_value() + (1.0 - beta_1) * g
            square = beta_2 * self.second[name].read_value() + (1.0 - beta_2) * g * g
            self.first[name].assign(mean)
            self.second[name].assign(square)
            step = rate * mean / (tf.sqrt(square) + epsilon)
            self.numbers[name].assign(self.numbers[name].read_value() - step)
        return said

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # as all of TensorFlow
    def infer(self, x: Any) -> Any:  # noqa: ANN401 - tensors
        """Answer each row as the model does, and with probabilities beside its scores."""
        answers, _ = self._forward(x, None)
        if not self._by_class and not self._binary:
            return {"outputs": tf.identity(answers)}
        likely = tf.nn.softmax(answers) if self._by_class else tf.sigmoid(answers)
        both = {"outputs": tf.identity(answers), "probabilities": likely}
        return {"outputs": likely} if self._ends else both

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # as all of TensorFlow
    def get_weights(self) -> Any:  # noqa: ANN401 - tensors
        """Hand out every weight."""
        return {name: weight.read_value() for name, weight in self.numbers.items()}

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # as all of TensorFlow
    def set_weights(self, **weights: Any) -> Any:  # noqa: ANN401 - tensors
        """Take every weight, and forget what the optimizers remember."""
        for name, weight in weights.items():
            self.numbers[name].assign(weight)
            self.first[name].assign(tf.zeros_like(weight))
            self.second[name].assign(tf.zeros_like(weight))
        self.steps.assign(0.0)
        return {"done": tf.constant(1)}

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # as all of TensorFlow
    def get_state(self) -> Any:  # noqa: ANN401 - tensors
        """Hand out what the optimizers remember."""
        return {name: variable.read_value() for name, variable in self.state.items()}

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # as all of TensorFlow
    def set_state(self, **state: Any) -> Any:  # noqa: ANN401 - tensors
        """Let the optimizers go on from there."""
        for name, value in state.items():
            self.state[name].assign(value)
        return {"done": tf.constant(1)}
