"""Everyday Keras models: what is carried, how it comes back, and what is refused by name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedbus.data import from_arrays
from fedbus.errors import TrainingError
from fedbus.model.blob import decode, encode, encode_delta
from fedbus.model.layout import Layout
from fedbus.training.params import Architecture, TrainingParams
from tests.plugin_package import Install

pytest.importorskip("tensorflow")

import keras
from keras import layers

from fedbus.frameworks.keras import KerasTrainer
from fedbus.frameworks.keras.model_export import export
from fedbus.frameworks.keras.tensors import named, roles_of, set_weights, weights_of
from fedbus.frameworks.keras.tflite_export import export as to_tflite

SOURCE = """
import fedbus.frameworks.keras
import keras
import numpy as np
from keras import layers


def attends():
    x = keras.Input((5, 8))
    y = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    y = layers.Dense(3)(layers.GlobalAveragePooling1D()(y))
    return keras.Model(x, y)


def both_ways():
    x = keras.Input((5, 4))
    return keras.Model(x, layers.Dense(3)(layers.Bidirectional(layers.LSTM(4))(x)))


def nested():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(4)])
    x = keras.Input((4,))
    return keras.Model(x, layers.Dense(3)(inner(x)))


def adapted():
    first = layers.Normalization()
    first.adapt(np.arange(40.0).reshape(10, 4))
    return keras.Sequential([keras.Input((4,)), first, layers.Dense(3)])


MODELS = {each.__name__: each for each in (attends, both_ways, nested, adapted)}


def make(config):
    return MODELS[config["model"]]()
"""


@pytest.fixture(autouse=True)
def models(install: Install) -> None:
    """Install a package of models that agents make by a plug-in."""
    install("functional", "[fedbus.models]\nfunctional = functional:make\n", SOURCE)


def plugin(model: str) -> Architecture:
    """Name one of them."""
    return {"name": "functional", "config": {"model": model}}


def sequence(row: tuple[int, ...], *kinds: Any, **more: str) -> Architecture:  # noqa: ANN401 - layers as a spec writes them
    """Describe a sequential model that ends in three scores."""
    config = {"input": list(row), "layers": [*kinds, ["Dense", {"units": 3}]], **more}
    return {"name": "sequential", "config": config}


EVERYDAY: dict[str, tuple[Architecture, tuple[int, ...]]] = {
    "batch normalisation": (sequence((4,), ["Dense", {"units": 5}], "BatchNormalization"), (4,)),
    "layer normalisation": (sequence((4,), "LayerNormalization"), (4,)),
    "embedding": (
        sequence((6,), ["Embedding", {"input_dim": 9, "output_dim": 4}], "GlobalAveragePooling1D"),
        (6,),
    ),
    "lstm": (sequence((5, 4), ["LSTM", {"units": 4}]), (5, 4)),
    "gru": (sequence((5, 4), ["GRU", {"units": 4}]), (5, 4)),
    "dropout": (sequence((4,), ["Dropout", {"rate": 0.5}]), (4,)),
    "rescaling": (sequence((4,), ["Rescaling", {"scale": 0.1, "offset": -1.0}]), (4,)),
    "normalization": (sequence((4,), "Normalization"), (4,)),
    "float16": (sequence((4,), "BatchNormalization", dtype="float16"), (4,)),
    "float64": (sequence((4,), "BatchNormalization", dtype="float64"), (4,)),
    "bfloat16": (sequence((4,), dtype="bfloat16"), (4,)),
    "mixed_float16": (sequence((4,), "BatchNormalization", dtype="mixed_float16"), (4,)),
    "attention": (plugin("attends"), (5, 8)),
    "bidirectional": (plugin("both_ways"), (5, 4)),
    "a model in a model": (plugin("nested"), (4,)),
    "adapted": (plugin("adapted"), (4,)),
}


@pytest.mark.parametrize("kind", EVERYDAY)
def test_an_everyday_model_trains_and_its_update_crosses_the_bus(kind: str) -> None:
    """Built twice in one process, as a long-lived agent does, it has the same names."""
    architecture, row = EVERYDAY[kind]
    made, again = KerasTrainer(architecture), KerasTrainer(architecture)
    first = made.initial()
    layout = Layout.of(first, made.roles())
    assert layout == Layout.of(again.initial(), again.roles())
    base = bytes(encode(first, layout))
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, (33, *row)) if kind == "embedding" else rng.normal(size=(33, *row))
    data = from_arrays(x.astype(np.float32), rng.integers(0, 3, 33))
    update = made.train(
        decode(base, layout), data, TrainingParams(batch_size=16, learning_rate=0.1)
    )
    change = decode(encode_delta(update.weights, base, layout), layout)
    assert all(np.isfinite(array.astype(np.float64)).all() for array in change.values())
    assert any(array.any() for array in change.values())
    again.load(update.weights)
    made.load(update.weights)
    np.testing.assert_array_equal(made.predict(x[:2]), again.predict(x[:2]))


def test_moving_statistics_are_told_from_weights() -> None:
    """The role is in the spec: what no gradient changes is named."""
    made = KerasTrainer(EVERYDAY["batch normalisation"][0])
    moving = {"layers.1.moving_mean": "statistic", "layers.1.moving_variance": "statistic"}
    assert made.roles() == moving


def test_what_was_adapted_to_data_comes_back() -> None:
    """A normalization computes with copies of its variables, which must follow them."""
    made = keras.Sequential([keras.Input((2,)), layers.Normalization(), layers.Dense(1)])
    other = keras.Sequential([keras.Input((2,)), layers.Normalization(), layers.Dense(1)])
    made.layers[0].adapt(np.array([[1.0, 5.0], [3.0, 9.0]]))
    set_weights(other, weights_of(made))
    x = np.array([[2.0, 7.0]], np.float32)
    np.testing.assert_array_equal(np.array(other(x)), np.array(made(x)))
    assert np.array(other.layers[0](x)).tolist() == [[0, 0]]
    assert set(roles_of(made)) == {f"layers.0.{name}" for name in ("mean", "variance", "count")}


def test_layers_inside_of_layers_are_named_by_their_place() -> None:
    """Keras numbers them through the process; two of one name are counted."""
    found = [*named(KerasTrainer(plugin("nested"))._net)]  # noqa: SLF001 - what the trainer holds
    inside = ["layers.0.dense.weight", "layers.0.dense.bias"]
    assert found[:4] == [*inside, *(f"{name}.2" for name in inside)]
    assert found[4:] == ["layers.1.weight", "layers.1.bias"]
    attends = [*named(KerasTrainer(plugin("attends"))._net)]  # noqa: SLF001
    assert "layers.0.query.weight" in attends


@pytest.mark.parametrize("policy", ["float16", "float64", "mixed_float16", "bfloat16"])
def test_a_dtype_policy_is_part_of_what_is_pushed(policy: str) -> None:
    """Agents would make float32 of it, which is another layout; TFLite trains in float32 only."""
    layer = layers.Dense(3, dtype=policy)
    model = keras.Sequential([keras.Input((4,)), layer])
    with pytest.warns(UserWarning, match=f"layer 0, Dense: TFLite cannot be trained in {policy}"):
        made = export(model, None)
    assert made.architectures["keras"]["config"]["dtype"] == policy
    KerasTrainer(made.architectures["keras"]).load(made.weights)


def _two_outputs() -> Any:  # noqa: ANN401 - Keras has no types
    x = keras.Input((4,), name="row")
    return keras.Model(x, [layers.Dense(3, name="kind")(x), layers.Dense(1, name="size")(x)])


def _two_inputs() -> Any:  # noqa: ANN401 - Keras has no types
    a, b = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    return keras.Model([a, b], layers.Dense(3)(a + b))


def _words() -> Any:  # noqa: ANN401 - Keras has no types
    return keras.Sequential(
        [
            keras.Input((1,), dtype="string"),
            layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot"),
            layers.Dense(3),
        ]
    )


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_two_outputs, "has 2 outputs, kind, size; agents train models of one output"),
        (_two_inputs, "has 2 inputs, left, right; agents train models of one input"),
        (lambda: keras.Sequential([layers.Dense(3)]), "not built has no weights"),
        (_words, "layer 0: no layer 'StringLookup'"),
        (
            lambda: keras.Sequential([
                keras.Input((4,)), layers.Dense(4), layers.Dense(3, dtype="float64")
            ]),
            "layer 1, Dense: dtype 'float64', where layer 0 has 'float32'",
        ),
        (
            lambda: keras.Sequential([
                keras.Input((4,)), layers.Dense(4, dtype=keras.DTypePolicy("mixed_bfloat16")),
                layers.Dense(3, kernel_regularizer="l2"),
            ]),
            "layer 1, Dense: ",
        ),
    ],
    ids=["outputs", "inputs", "unbuilt", "strings", "two dtypes", "regularizer"],
)  # fmt: skip
def test_what_agents_cannot_train_is_refused_by_name(
    make: Callable[[], Any], sentence: str
) -> None:
    """When it is pushed, and not by every round."""
    with pytest.raises(TrainingError, match=sentence):
        export(make(), None)


def test_a_dtype_that_is_no_policy_of_floats_is_refused() -> None:
    """A spec may say anything."""
    for dtype in ("int8", "quantized", 3):
        with pytest.raises(TrainingError, match=r"dtype is .*; there is bfloat16"):
            KerasTrainer(sequence((4,), dtype=dtype))  # type: ignore[arg-type]  # what is tried


def test_tflite_is_exported_for_float32_alone() -> None:
    """Its training steps are written in it."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype="float64")])
    with pytest.raises(TrainingError, match="layer 0, Dense: TFLite cannot be trained in float64"):
        to_tflite(model)
