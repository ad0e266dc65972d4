"""Layers of a Keras architecture: checked by name and size before Keras sees them."""

from typing import Any

import pytest

pytest.importorskip("tensorflow")

from fedbus.errors import TrainingError
from fedbus.frameworks.keras.layers import ACTIVATIONS, KINDS, Layer, read_layers


def config(*layers: Any, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a spec may hold
    """Write a sequential model's config."""
    return {"input": [28, 28, 1], "layers": list(layers), **more}


def test_layers_are_read_in_order() -> None:
    """With their arguments, or by name alone."""
    row, layers, seed = read_layers(
        config(
            ["Conv2D", {"filters": 4, "kernel_size": [3, 3], "padding": "same"}],
            ["Flatten"],
            "ReLU",
            ("Dense", {"units": 10, "activation": None, "use_bias": True}),
            ["Dropout", {"rate": 0.5}],
            seed=7,
        )
    )
    assert (row, seed) == ((28, 28, 1), 7)
    assert [layer.kind for layer in layers] == ["Conv2D", "Flatten", "ReLU", "Dense", "Dropout"]
    assert layers[1].config == {}


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({}, "configured by input, layers and perhaps a seed"),
        ({"input": [2], "layers": "Dense"}, "configured by input, layers"),
        (config("Flatten", optimizer="adam"), "configured by input, layers"),
        ({"input": 2, "layers": ["Flatten"]}, "input is the shape of one row"),
        ({"input": [0], "layers": ["Flatten"]}, "input is the shape of one row"),
        ({"input": [2] * 9, "layers": ["Flatten"]}, "input is the shape of one row"),
        (config("Flatten", seed=-1), "seed a whole number"),
        (config("Flatten", seed=True), "seed a whole number"),
        (config(), "0 layers; 1 to 256"),
        (config(*["Flatten"] * 257), "257 layers"),
        (config(3), "layer 0: not a name and its arguments"),
        (config("Flatten", ["Dense", {}, {}]), "layer 1: not a name and its arguments"),
        (
            config(["Lambda", {"function": "os.system"}]),
            "layer 0: no layer 'Lambda'; there is Dense",
        ),
        (config(["Dense", {"units": 3, "kernel_initializer": "x"}]), "no argument 'kernel_init"),
        (config(["Flatten", {"name": "x"}]), "no argument 'name'; it takes no arguments"),
        (config(["Dense", {}]), "layer 0, Dense: units is missing"),
        (config(["Dense", {"units": 0}]), "units is 0, which it does not take"),
        (config(["Dense", {"units": True}]), "units is True"),
        (config(["Dense", {"units": 2**25}]), "units is 33554432"),
        (config(["Dense", {"units": 3, "activation": "exec"}]), "activation is exec"),
        (config(["Dense", {"units": 3, "activation": []}]), r"activation is \[\]"),
        (config(["Dense", {"units": 3, "use_bias": 1}]), "use_bias is 1"),
        (config(["Conv2D", {"filters": 3, "kernel_size": [1] * 5}]), "kernel_size is"),
        (config(["Conv2D", {"filters": 3, "kernel_size": []}]), "kernel_size is"),
        (
            config(["Conv2D", {"filters": 3, "kernel_size": 3, "padding": "full"}]),
            "padding is full",
        ),
        (config(["Dropout", {"rate": 1}]), "rate is 1"),
        (config(["Dropout", {"rate": "half"}]), "rate is half"),
        (config(["LayerNormalization", {"epsilon": 1e7}]), "epsilon is 10000000.0"),
        (config(["LayerNormalization", {"epsilon": float("nan")}]), "epsilon is nan"),
        (config(["Reshape", {"target_shape": 4}]), "target_shape is 4"),
    ],
)
def test_what_is_not_in_the_tables_is_refused(written: dict[str, Any], sentence: str) -> None:
    """With the layer's place, and what it takes."""
    with pytest.raises(TrainingError, match=sentence):
        read_layers(written)


@pytest.mark.parametrize(
    ("layer", "shape", "numbers"),
    [
        (Layer("Dense", {"units": 10}), (64,), 650),
        (Layer("Conv2D", {"filters": 4, "kernel_size": 3}), (28, 28, 2), 76),
        (Layer("Conv2D", {"filters": 4, "kernel_size": [1, 5]}), (28, 28, 2), 44),
        (Layer("Conv1D", {"filters": 4, "kernel_size": 3}), (28, 2), 28),
        (Layer("DepthwiseConv2D", {"kernel_size": 3}), (28, 28, 2), 20),
        (Layer("DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 3}), (28, 28, 2), 60),
        (Layer("Embedding", {"input_dim": 100, "output_dim": 8}), (5,), 800),
        (Layer("BatchNormalization", {}), (28, 28, 2), 8),
        (Layer("Flatten", {}), (28, 28, 2), 0),
        (Layer("Dense", {"units": 10}), (), 20),
        (Layer("Dense", {"units": 10}), (None,), 20),
    ],
)
def test_a_layer_is_measured_before_it_is_built(
    layer: Layer, shape: tuple[int | None, ...], numbers: int
) -> None:
    """As many numbers as Keras will make, or more."""
    assert layer.numbers(shape) == numbers


def test_keras_has_every_layer_and_activation_and_makes_no_more_numbers_than_measured() -> None:
    """The tables say what Keras says."""
    pytest.importorskip("tensorflow")
    from fedbus.frameworks.keras import KerasTrainer

    import keras  # isort: skip - after the package that says which backend it has

    for kind in KINDS:
        assert hasattr(keras.layers, kind)
    for name in ACTIVATIONS:
        assert callable(keras.activations.get(name))
    for kind in ("LSTM", "GRU", "SimpleRNN"):
        layer = Layer(kind, {"units": 3})
        architecture = {
            "name": "sequential",
            "config": {"input": [5, 4], "layers": [[kind, {"units": 3}]]},
        }
        made = sum(array.size for array in KerasTrainer(architecture).initial().values())
        assert made <= layer.numbers((5, 4))
    with pytest.raises(TrainingError, match="more than 268435456 numbers"):
        KerasTrainer(
            {"name": "sequential", "config": config("Flatten", ["Dense", {"units": 2**20}])}
        )
    with pytest.raises(TrainingError, match="layer 0, Conv2D: "):
        KerasTrainer(
            {
                "name": "sequential",
                "config": {"input": [4], "layers": [["Conv2D", {"filters": 1, "kernel_size": 3}]]},
            }
        )
    for unknown in (None, "unknown-resnet"):
        with pytest.raises(TrainingError, match="no Keras model named"):
            KerasTrainer({"name": unknown})
    with pytest.raises(TrainingError, match="the config of 'sequential' is list"):
        KerasTrainer({"name": "sequential", "config": []})


@pytest.mark.parametrize(
    ("row", "layers", "sentence"),
    [
        ([2**24, 2**24], ["Flatten"], r"input: 281474976710656 numbers for each row"),
        ([2, 2, 1], [["ZeroPadding2D", {"padding": 2**20}]], "layer 0, ZeroPadding2D: .* numbers"),
        (
            [512, 512, 1],
            [["Conv2D", {"filters": 2**12, "kernel_size": 1}]],
            r"layer 0, Conv2D: 1073741824 numbers for each row, shape \(512, 512, 4096\); at most",
        ),
    ],
)
def test_a_row_that_grows_beyond_memory_is_refused(
    row: list[int], layers: list[object], sentence: str
) -> None:
    """Such layers have few weights, so that counting those finds nothing."""
    pytest.importorskip("tensorflow")
    from fedbus.frameworks.keras import KerasTrainer

    with pytest.raises(TrainingError, match=sentence):
        KerasTrainer({"name": "sequential", "config": {"input": row, "layers": layers}})
