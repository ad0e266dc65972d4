"""A Keras model as a TensorFlow module with the signatures of a trainable `.tflite` file."""

# TensorFlow has no types, so all that comes from it is Any.
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import tensorflow as tf

from fedbus.frameworks.keras import tflite_layers
from fedbus.frameworks.keras.tflite_layers import Back, Step
from fedbus.frameworks.keras.window import Window

Loss = Literal["categorical_crossentropy", "binary_crossentropy", "mean_squared_error"]

_PLAIN: Final[Mapping[str, Step]] = {
    "Dense": tflite_layers.dense, "Flatten": tflite_layers.flatten,
    "ReLU": tflite_layers.relu, "Softmax": tflite_layers.softmax,
}  # fmt: skip
_WINDOWED: Final[Mapping[str, Callable[[Window], Step]]] = {
    "Conv2D": tflite_layers.conv, "DepthwiseConv2D": tflite_layers.depthwise,
    "MaxPooling2D": tflite_layers.max_pool, "AveragePooling2D": tflite_layers.average_pool,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LayerPart:
    """A layer, or the activation after one."""

    kind: str
    config: Mapping[str, Any]
    rows: Sequence[int]
    """The shape of one row of its inputs; empty for an activation."""
    weights: int = 0


def _pair(value: Any) -> tuple[int, int]:  # noqa: ANN401 - a number or two
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _step(part: LayerPart, index: int, draw: Any) -> Step:  # noqa: ANN401 - a tensor
    if part.kind in _PLAIN:
        return _PLAIN[part.kind]
    if part.kind == "Dropout":
        return tflite_layers.dropout(part.config["rate"], index, draw)
    size = _pair(part.config.get("kernel_size", part.config.get("pool_size")))
    high, wide, _ = part.rows
    window = Window.over((high, wide), size, _pair(part.config["strides"]), part.config["padding"])
    return _WINDOWED[part.kind](window)


class TrainableNetwork(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """A model's weights and optimizer state as resource variables, and the signatures.

    With `local_terms` there are two more variables for each weight, `base` and `linear`, which the
    signatures `set_terms`, `train_terms` and `train_adam_terms` use.
    """

    def __init__(
        self,
        parts: Sequence[LayerPart],
        variables: Mapping[str, Any],
        loss: Loss,
        *,
        local_terms: bool = False,
    ) -> None:
        super().__init__()
        self._by_class = loss == "categorical_crossentropy"
        self._binary = loss == "binary_crossentropy"
        own = {"categorical_crossentropy": "Softmax", "binary_crossentropy": "Sigmoid"}.get(loss)
        self._ends = parts[-1].kind == own
        if self._ends:
            parts = parts[:-1]  # the loss and `infer` apply it
        self._parts = tuple(parts)
        self.numbers = {
            name.replace(".", "__"): tf.Variable(tf.convert_to_tensor(v))
            for name, v in variables.items()
        }
        self.first = {name: tf.Variable(tf.zeros_like(w)) for name, w in self.numbers.items()}
        self.second = {name: tf.Variable(tf.zeros_like(w)) for name, w in self.numbers.items()}
        termed = self.numbers if local_terms else {}
        self.base = {name: tf.Variable(tf.zeros_like(w)) for name, w in termed.items()}
        self.linear = {name: tf.Variable(tf.zeros_like(w)) for name, w in termed.items()}
        self.steps = tf.Variable(0.0)
        self.state = {
            **{f"first__{name}": v for name, v in self.first.items()},
            **{f"second__{name}": v for name, v in self.second.items()},
            "steps": self.steps,
        }

    def _forward(self, x: Any, draw: Any) -> tuple[Any, list[tuple[list[str], Back]]]:  # noqa: ANN401 - tensors
        names, backward_steps = list(self.numbers), []
        for index, part in enumerate(self._parts):
            if part.kind == "Dropout" and draw is None:
                continue
            mine, names = names[: part.weights], names[part.weights :]
            weights = [self.numbers[name].read_value() for name in mine]
            x, back = _step(part, index, draw)(x, weights)
            backward_steps.append((mine, back))
        return x, backward_steps

    def _gradients(self, x: Any, y: Any, draw: Any) -> tuple[dict[str, Any], dict[str, Any]]:  # noqa: ANN401 - tensors
        outputs, backward_steps = self._forward(x, draw)
        rows = tf.cast(tf.shape(x)[0], tf.float32)
        if self._by_class:
            target = tf.one_hot(y, int(outputs.shape[-1]))
            loss = -tf.reduce_sum(target * tf.nn.log_softmax(outputs)) / rows
            g = (tf.nn.softmax(outputs) - target) / rows
            right = tf.equal(tf.argmax(outputs, axis=-1, output_type=tf.int32), y)
            metrics = {"loss": loss, "correct": tf.reduce_sum(tf.cast(right, tf.float32))}
        elif self._binary:
            each = float(outputs.shape[1:].num_elements())
            # log(1 + e^z) - z y, of numbers that cannot overflow
            tail = tf.math.log(1.0 + tf.exp(-tf.abs(outputs)))
            loss = tf.reduce_sum(tf.maximum(outputs, 0.0) - outputs * y + tail) / rows / each
            g = (tf.sigmoid(outputs) - y) / rows / each
            right = tf.cast(tf.equal(outputs > 0.0, y > 0.5), tf.float32)  # noqa: PLR2004 - yes
            metrics = {"loss": loss, "correct": tf.reduce_sum(right) / each}
        else:
            each = float(outputs.shape[1:].num_elements())
            off = outputs - y
            metrics, g = {"loss": tf.reduce_sum(off * off) / rows / each}, 2.0 * off / rows / each
        found: dict[str, Any] = {}
        for names, back in reversed(backward_steps):
            g, of_weights = back(g)
            found.update(zip(names, of_weights, strict=True))
        return found, metrics

    def _add_terms(self, found: Mapping[str, Any], proximal: Any) -> dict[str, Any]:  # noqa: ANN401 - tensors
        """Return gradients with those of a strategy's terms: linear + proximal · (w - base)."""
        added = {}
        for name, g in found.items():
            moved = self.numbers[name].read_value() - self.base[name].read_value()
            added[name] = g + (self.linear[name].read_value() + proximal * moved)
        return added

    def _next_step(self) -> Any:  # noqa: ANN401 - a tensor
        steps = self.steps.read_value() + 1.0
        self.steps.assign(steps)
        return steps

    def _take_step(self, found: Mapping[str, Any], learning_rate: Any, momentum: Any) -> None:  # noqa: ANN401 - tensors
        """Take one step of SGD: v = momentum · v + gradient; w = w - learning_rate · v."""
        for name, g in found.items():
            velocity = momentum * self.first[name].read_value() + g
            self.first[name].assign(velocity)
            self.numbers[name].assign(self.numbers[name].read_value() - learning_rate * velocity)

    def _take_adam_step(  # noqa: PLR0913, PLR0917 - as in the signature
        self,
        found: Mapping[str, Any],
        steps: Any,  # noqa: ANN401 - tensors
        learning_rate: Any,  # noqa: ANN401
        beta_1: Any,  # noqa: ANN401
        beta_2: Any,  # noqa: ANN401
        epsilon: Any,  # noqa: ANN401
    ) -> None:
        """Take one step of Adam (Kingma and Ba 2015, arXiv 1412.6980), as Keras does."""
        rate = learning_rate * tf.sqrt(1.0 - beta_2**steps) / (1.0 - beta_1**steps)
        for name, g in found.items():
            mean = beta_1 * self.first[name].read_value() + (1.0 - beta_1) * g
            square = beta_2 * self.second[name].read_value() + (1.0 - beta_2) * g * g
            self.first[name].assign(mean)
            self.second[name].assign(square)
            step = rate * mean / (tf.sqrt(square) + epsilon)
            self.numbers[name].assign(self.numbers[name].read_value() - step)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # as all of TensorFlow
    def train(self, x: Any, y: Any, learning_rate: Any, momentum: Any, seed: Any) -> Any:  # noqa: ANN401 - tensors
        """Take one step of SGD on one batch."""
        found, metrics = self._gradients(x, y, self._next_step() + seed)
        self._take_step(found, learning_rate, momentum)
        return metrics

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # as all of TensorFlow
    def train_terms(  # noqa: PLR0913, PLR0917 - each has its name in the signature
        self,
        x: Any,  # noqa: ANN401 - tensors
        y: Any,  # noqa: ANN401
        learning_rate: Any,  # noqa: ANN401
        momentum: Any,  # noqa: ANN401
        seed: Any,  # noqa: ANN401
        proximal: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Take one step of SGD with the terms in the gradient."""
        found, metrics = self._gradients(x, y, self._next_step() + seed)
        self._take_step(self._add_terms(found, proximal), learning_rate, momentum)
        return metrics

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
        """Take one step of Adam on one batch."""
        steps = self._next_step()
        found, metrics = self._gradients(x, y, steps + seed)
        self._take_adam_step(found, steps, learning_rate, beta_1, beta_2, epsilon)
        return metrics

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # as all of TensorFlow
    def train_adam_terms(  # noqa: PLR0913, PLR0917 - each has its name in the signature
        self,
        x: Any,  # noqa: ANN401 - tensors
        y: Any,  # noqa: ANN401
        learning_rate: Any,  # noqa: ANN401
        beta_1: Any,  # noqa: ANN401
        beta_2: Any,  # noqa: ANN401
        epsilon: Any,  # noqa: ANN401
        seed: Any,  # noqa: ANN401
        proximal: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Take one step of Adam with the terms in the gradient."""
        steps = self._next_step()
        found, metrics = self._gradients(x, y, steps + seed)
        found = self._add_terms(found, proximal)
        self._take_adam_step(found, steps, learning_rate, beta_1, beta_2, epsilon)
        return metrics

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # as all of TensorFlow
    def set_terms(self, **linear: Any) -> Any:  # noqa: ANN401 - tensors
        """Set the factors of the linear term; the base is what the weights are now."""
        for name, factor in linear.items():
            self.base[name].assign(self.numbers[name].read_value())
            self.linear[name].assign(factor)
        return {"done": tf.constant(1)}

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # as all of TensorFlow
    def infer(self, x: Any) -> Any:  # noqa: ANN401 - tensors
        """Compute the outputs of the model, and probabilities if the outputs are scores."""
        outputs, _ = self._forward(x, None)
        if not self._by_class and not self._binary:
            return {"outputs": tf.identity(outputs)}
        probabilities = tf.nn.softmax(outputs) if self._by_class else tf.sigmoid(outputs)
        both = {"outputs": tf.identity(outputs), "probabilities": probabilities}
        return {"outputs": probabilities} if self._ends else both

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # as all of TensorFlow
    def get_weights(self) -> Any:  # noqa: ANN401 - tensors
        """Return every weight."""
        return {name: weight.read_value() for name, weight in self.numbers.items()}

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # as all of TensorFlow
    def set_weights(self, **weights: Any) -> Any:  # noqa: ANN401 - tensors
        """Set every weight, and clear the optimizer state."""
        for name, weight in weights.items():
            self.numbers[name].assign(weight)
            self.first[name].assign(tf.zeros_like(weight))
            self.second[name].assign(tf.zeros_like(weight))
        self.steps.assign(0.0)
        return {"done": tf.constant(1)}

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # as all of TensorFlow
    def get_state(self) -> Any:  # noqa: ANN401 - tensors
        """Return the optimizer state."""
        return {name: variable.read_value() for name, variable in self.state.items()}

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]  # as all of TensorFlow
    def set_state(self, **state: Any) -> Any:  # noqa: ANN401 - tensors
        """Set the optimizer state."""
        for name, value in state.items():
            self.state[name].assign(value)
        return {"done": tf.constant(1)}
