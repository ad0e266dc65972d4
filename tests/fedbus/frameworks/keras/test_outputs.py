"""Keras and TFLite answer with what the pushed model's own `predict` gives, number by number."""

import warnings
from typing import Any

import numpy as np
import pytest

from fedbus.client.model_factory import make_model
from fedbus.frameworks.tflite.trainer import TfliteTrainer
from tests.fedbus.frameworks.alike import answers
from tests.plugin_package import Install

pytest.importorskip("tensorflow")

from fedbus.frameworks.keras import KerasTrainer
from fedbus.frameworks.keras.architectures import build, declared_loss, output_activation_of

X = np.random.default_rng(2).normal(size=(5, 4)).astype(np.float32)
SOURCE = """
import fedbus.frameworks.keras
import keras
from keras import layers, losses


def _net(units, activation, loss):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(units, activation=activation)])
    if loss is not None:
        model.compile(loss=loss)
    return model


def value(): return _net(1, None, "mse")
def value_of_class(): return _net(1, None, losses.MeanSquaredError())
def logit(): return _net(1, None, losses.BinaryCrossentropy(from_logits=True))
def yes(): return _net(1, "sigmoid", "binary_crossentropy")
def labels(): return _net(3, "sigmoid", "binary_crossentropy")
def scores(): return _net(3, None, losses.SparseCategoricalCrossentropy(from_logits=True))
def soft(): return _net(3, "softmax", losses.categorical_crossentropy)
def bare(): return _net(1, None, None)
def huber(): return _net(1, None, losses.Huber())
def mae(): return _net(4, None, "mae")

"""
ANSWERS = {
    "value": "values", "value_of_class": "values", "logit": "logits", "yes": "probabilities",
    "labels": "labels", "scores": "classes", "soft": "probabilities", "bare": "values",
    "huber": "values", "mae": "values",
}  # fmt: skip
WITHOUT_TFLITE = {"huber", "mae"}


@pytest.fixture(autouse=True)
def theirs(install: Install) -> None:
    """Install a package of third-party models."""
    install("keras_nets", "", SOURCE)


@pytest.mark.parametrize("name", ANSWERS)
def test_inference_gives_what_keras_predicts(name: str) -> None:
    """In both frameworks, whatever the loss and the last layer are; and the push knows them."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        pushed = make_model(f"keras_nets:{name}", None, None)
    spec = pushed.spec()
    assert spec.answers == ANSWERS[name]
    assert ("tflite" not in spec.architectures) == (name in WITHOUT_TFLITE)
    assert any("no TFLite file" in str(each.message) for each in told) == (name in WITHOUT_TFLITE)
    own = build(spec.architectures["keras"])
    wanted = own.predict(X, verbose=0)
    keras = KerasTrainer(spec.architectures["keras"])
    keras.load(keras.initial())
    np.testing.assert_allclose(keras.predict(X), wanted, atol=1e-6)
    if "tflite" in spec.architectures:
        blob = pushed.blobs[spec.architectures["tflite"]["blob"]["digest"]]
        tflite = TfliteTrainer({"blob": bytes(blob)})
        tflite.load(keras.initial())
        np.testing.assert_allclose(answers(tflite, X), wanted, atol=1e-6)
        assert tflite.output_activation == keras.output_activation


def test_the_last_operation_of_a_model_is_found_behind_changes_of_shape() -> None:
    """An activation, a layer of its own, a function, a subclass."""
    import keras

    x = keras.Input((4,))
    dense = keras.layers.Dense(4)(x)
    for last, activation in (
        (keras.layers.Reshape((2, 2))(keras.layers.Softmax()(dense)), "softmax"),
        (keras.ops.sigmoid(dense), "sigmoid"),
        (keras.layers.Activation("sigmoid")(dense), "sigmoid"),
        (keras.layers.Dropout(0.5)(dense), "scores"),
        (keras.layers.ReLU()(dense), "scores"),
    ):
        assert output_activation_of(keras.Model(x, last)) == activation

    class Own(keras.Model):  # type: ignore[misc]  # Keras has no types
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(2, activation="softmax")

        def call(self, inputs: object) -> object:
            return self.dense(inputs)

    assert output_activation_of(Own()) == "softmax"
    assert declared_loss(Own()) is None


def test_a_loss_of_ones_own_is_called_by_its_name() -> None:
    """The warning that TFLite has no such tells it."""
    import keras

    def mine(truth: Any, answers: Any) -> Any:  # noqa: ANN401 - tensors
        return keras.ops.mean(keras.ops.abs(truth - answers))

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile(loss=mine)
    assert declared_loss(model) == "mine"
    for loss, name in (
        ("bce", "binary_crossentropy"),
        (["mse"], "mse"),
        ("MSE", "mse"),
        (keras.losses.LogCosh(), "log_cosh"),
        (keras.losses.kl_divergence, "kl_divergence"),
    ):
        model.compile(loss=loss)
        assert declared_loss(model) == name
