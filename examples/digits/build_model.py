"""Build `digits.tflite`: a 64-32-10 network that tflite-runtime can train as well as run.

    pip install "tensorflow-cpu>=2.17,<2.18"      # this script only; no agent needs TensorFlow
    python examples/digits/build_model.py

It writes `digits.tflite` and `model.json` (the model's spec) where `fedbus demo` finds them. The
same TensorFlow writes the same bytes every time: the initial weights come from a fixed seed.

Use it as the pattern for a model of your own. `fedbus.frameworks.tflite.trainer` needs four
signatures:

    train(x, y, learning_rate[, momentum]) -> {"loss", "correct"}    one step of SGD on one batch
    infer(x)                               -> {"outputs"}            probabilities
    get_weights()                          -> {every weight}
    set_weights(every weight)              -> {"done"}               and clear the momentum

and two more for jobs that keep the optimizer state from round to round:

    get_state()                            -> {optimizer state}      here the momentum
    set_state(optimizer state)             -> {"done"}

A weight named `layers.0.bias` is called `layers__0__bias` there: its names are Python identifiers.
The batch dimension is None, so any batch fits, the short last one too.
"""

# TensorFlow is not installed where types are checked, so all that comes from it is Any.
# mypy: disable-error-code="untyped-decorator, misc, no-any-return"

import json
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import tensorflow as tf

from fedbus.digest import digest_of

LAYERS = (64, 32, 10)
SEED = 7
TARGET = Path(__file__).parents[2] / "libs/fedbus/src/fedbus/demo_data"


@tf.custom_gradient
def relu(x: tf.Tensor) -> tuple[tf.Tensor, object]:
    """Rectify. TensorFlow's own gradient of it (ReluGrad) is no builtin operator of TFLite."""
    return tf.nn.relu(x), lambda upstream: upstream * tf.cast(x > 0, tf.float32)


@tf.custom_gradient
def cross_entropy(logits: tf.Tensor, truth: tf.Tensor) -> tuple[tf.Tensor, object]:
    """Mean loss of a batch. TensorFlow's own, fused or composed, needs operators TFLite lacks."""
    loss = -tf.reduce_mean(tf.reduce_sum(truth * tf.nn.log_softmax(logits), axis=1))
    batch = tf.cast(tf.shape(logits)[0], tf.float32)
    slope = (tf.nn.softmax(logits) - truth) / batch
    return loss, lambda upstream: (upstream * slope, None)


class Digits(tf.Module):
    """The network, with weights and momentum as resource variables."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(SEED)
        self.weights: dict[str, tf.Variable] = {}
        for i, (wide, narrow) in enumerate(pairwise(LAYERS)):
            spread = np.sqrt(2 / wide)
            kernel = rng.normal(0, spread, (wide, narrow)).astype(np.float32)
            self.weights[f"layers__{i}__weight"] = tf.Variable(kernel)
            self.weights[f"layers__{i}__bias"] = tf.Variable(tf.zeros(narrow))
        self.velocity = {name: tf.Variable(tf.zeros_like(w)) for name, w in self.weights.items()}

    def logits(self, x: tf.Tensor) -> tf.Tensor:
        """Compute logits. x: (batch, 64) float32; returns (batch, 10)."""
        hidden = relu(x @ self.weights["layers__0__weight"] + self.weights["layers__0__bias"])
        return hidden @ self.weights["layers__1__weight"] + self.weights["layers__1__bias"]

    @tf.function
    def train(
        self, x: tf.Tensor, y: tf.Tensor, learning_rate: tf.Tensor, momentum: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Take one step of SGD: v = momentum · v + gradient; w = w - learning_rate · v."""
        truth = tf.one_hot(y, LAYERS[-1])
        with tf.GradientTape() as tape:
            logits = self.logits(x)
            loss = cross_entropy(logits, truth)
        gradients = tape.gradient(loss, self.weights)
        for name, gradient in gradients.items():
            velocity = momentum * self.velocity[name] + gradient
            self.velocity[name].assign(velocity)
            self.weights[name].assign(self.weights[name] - learning_rate * velocity)
        right = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), y)
        return {"loss": loss, "correct": tf.reduce_sum(tf.cast(right, tf.float32))}

    @tf.function
    def infer(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Compute class probabilities. x: (batch, 64) float32; returns (batch, 10)."""
        return {"outputs": tf.nn.softmax(self.logits(x))}

    @tf.function
    def get_weights(self) -> dict[str, tf.Tensor]:
        """Return every weight."""
        return {name: weight.read_value() for name, weight in self.weights.items()}

    @tf.function
    def set_weights(self, **weights: tf.Tensor) -> dict[str, tf.Tensor]:
        """Set every weight, and clear the momentum."""
        for name, weight in weights.items():
            self.weights[name].assign(weight)
            self.velocity[name].assign(tf.zeros_like(weight))
        return {"done": tf.constant(1)}

    @tf.function
    def get_state(self) -> dict[str, tf.Tensor]:
        """Return the momentum."""
        return {name: velocity.read_value() for name, velocity in self.velocity.items()}

    @tf.function
    def set_state(self, **state: tf.Tensor) -> dict[str, tf.Tensor]:
        """Set the momentum."""
        for name, velocity in state.items():
            self.velocity[name].assign(velocity)
        return {"done": tf.constant(1)}


def convert(model: Digits) -> bytes:
    """Export the six signatures and translate them to TFLite's builtin operators."""
    x, y = tf.TensorSpec((None, LAYERS[0]), tf.float32), tf.TensorSpec((None,), tf.int32)
    number = tf.TensorSpec((), tf.float32)
    kinds = {name: tf.TensorSpec(w.shape, w.dtype, name) for name, w in model.weights.items()}
    signatures = {
        "train": model.train.get_concrete_function(x, y, number, number),
        "infer": model.infer.get_concrete_function(x),
        "get_weights": model.get_weights.get_concrete_function(),
        "set_weights": model.set_weights.get_concrete_function(**kinds),
        "get_state": model.get_state.get_concrete_function(),
        "set_state": model.set_state.get_concrete_function(**kinds),
    }
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(model, folder, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = True
        return converter.convert()


def spec(model: Digits, tflite: bytes) -> dict[str, object]:
    """Describe the model for the repository: layout, architectures, what goes in."""
    names = {name.replace("__", "."): w for name, w in model.weights.items()}
    blob = {"digest": digest_of(tflite), "size": len(tflite)}
    return {
        "model": "digits",
        "layout": [
            {"name": name, "shape": names[name].shape.as_list(), "dtype": "float32"}
            for name in sorted(names)
        ],
        "architectures": {
            "tflite": {"blob": blob},
            "torch": {"name": "mlp", "config": {"layers": list(LAYERS), "seed": SEED}},
            "keras": {
                "name": "sequential",
                "config": {
                    "input": [LAYERS[0]],
                    "layers": [
                        ["Dense", {"units": LAYERS[1], "activation": "relu"}],
                        ["Dense", {"units": LAYERS[2]}],
                    ],
                    "seed": SEED,
                },
            },
        },
        "input": {"data_types": {"numerical": {"size": [LAYERS[0]], "normalized": True}}},
        "answers": "probabilities",
    }


if __name__ == "__main__":
    digits = Digits()
    file = convert(digits)
    TARGET.joinpath("digits.tflite").write_bytes(file)
    TARGET.joinpath("model.json").write_text(json.dumps(spec(digits, file), indent=2) + "\n")
    print(f"{TARGET}: digits.tflite ({len(file)} bytes), model.json")
