"""ONNX files of Keras models: every layer and activation that an architecture may name."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("onnx")

from fedbus.errors import TrainingError
from fedbus.frameworks import onnx_file
from fedbus.frameworks.keras.architectures import build
from fedbus.frameworks.keras.layers import ACTIVATIONS, KINDS
from fedbus.frameworks.keras.onnx_activations import ACTIVATIONS as WRITTEN_ACTIVATIONS
from fedbus.frameworks.keras.onnx_export import onnx_of
from fedbus.frameworks.keras.onnx_layers import WRITERS
from fedbus.frameworks.keras.onnx_recurrent import RECURRENT
from fedbus.frameworks.keras.tensors import set_weights, weights_of
from fedbus.model.layout import Array

NETS: Mapping[str, tuple[list[int], list[Any]]] = {
    "picture": (
        [9, 8, 2],
        [
            ["Rescaling", {"scale": 0.5, "offset": 1}],
            ["Conv2D", {"filters": 4, "kernel_size": [3, 2], "padding": "same", "strides": 2}],
            ["BatchNormalization", {}],
            ["ReLU", {"max_value": 6, "negative_slope": 0.1}],
            ["ZeroPadding2D", {"padding": [2, 1]}],
            ["DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 2, "use_bias": False}],
            ["MaxPooling2D", {"pool_size": 2, "padding": "same"}],
            ["AveragePooling2D", {"pool_size": 2, "padding": "same", "strides": 1}],
            ["Flatten", {}],
            ["Dropout", {"rate": 0.5}],
            ["Dense", {"units": 3, "activation": "softmax"}],
        ],
    ),
    "globally pooled": (
        [6, 6, 3],
        [
            ["Conv2D", {"filters": 4, "kernel_size": 2, "activation": "tanh"}],
            ["GlobalMaxPooling2D", {}],
            ["BatchNormalization", {"center": False, "scale": False}],
        ],
    ),
    "globally averaged": ([4, 6, 3], [["GlobalAveragePooling2D", {}], ["Dense", {"units": 2}]]),
    "series": (
        [12, 3],
        [
            ["Conv1D", {"filters": 4, "kernel_size": 3, "padding": "same"}],
            ["MaxPooling1D", {"pool_size": 2}],
            ["AveragePooling1D", {"pool_size": 2, "padding": "same"}],
            ["LayerNormalization", {"epsilon": 0.01}],
            ["Dense", {"units": 5}],
            ["GlobalAveragePooling1D", {}],
            ["Normalization", {}],
        ],
    ),
    "series of words": (
        [12],
        [
            ["Embedding", {"input_dim": 30, "output_dim": 4}],
            ["LSTM", {"units": 5, "return_sequences": True}],
            ["GRU", {"units": 4, "return_sequences": True}],
            ["SimpleRNN", {"units": 4, "return_sequences": True, "activation": "relu"}],
            ["GlobalMaxPooling1D", {}],
            ["Reshape", {"target_shape": [2, 2]}],
            ["Activation", {"activation": "selu"}],
            ["Softmax", {}],
        ],
    ),
    "last states": ([5, 3], [["LSTM", {"units": 4}], ["Dense", {"units": 2}]]),
}


def drawn(architecture: Mapping[str, Any]) -> dict[str, Array]:
    """Draw weights such as a training may end with: no zeros, variances above 0."""
    rng = np.random.default_rng(1)
    return {
        name: (np.abs(rng.normal(0, 0.5, each.shape)) + 0.01).astype(each.dtype)
        for name, each in weights_of(build(architecture)).items()
    }


@pytest.mark.parametrize("net", NETS)
def test_a_file_answers_as_the_model_for_any_number_of_rows(net: str) -> None:
    """Onnxruntime computes it, in other code than ours and Keras's."""
    row, layers = NETS[net]
    architecture = {"name": "sequential", "config": {"input": row, "layers": layers}}
    weights = drawn(architecture)
    file = onnx_of(architecture, weights)
    model = build(architecture)
    set_weights(model, weights)
    rng = np.random.default_rng(2)
    for count in (1, 5):
        rows = rng.integers(0, 30, (count, *row)).astype(np.float32)
        rows = rows if "words" in net else rows / 30
        np.testing.assert_allclose(
            onnx_file.run(file, rows), np.asarray(model(rows, training=False)), atol=1e-5
        )


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation_is_written(activation: str) -> None:
    """The export itself compares the outputs, on both sides of zero."""
    layers = [["Dense", {"units": 6, "activation": activation}]]
    architecture = {"name": "sequential", "config": {"input": [4], "layers": layers}}
    assert onnx_of(architecture, weights_of(build(architecture)))


def test_every_layer_that_an_architecture_may_name_is_written_and_tried() -> None:
    """A new layer needs its row here, or a sentence that refuses it."""
    tried = {kind for _, layers in NETS.values() for kind, _ in layers}
    assert set(KINDS) == tried
    assert set(KINDS) <= {*WRITERS, *RECURRENT}
    assert set(WRITTEN_ACTIVATIONS) >= ACTIVATIONS


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"dtype": "float16"}, "layer 0, Dense: cannot be exported to ONNX in float16"),
        (
            {"layers": [["GRU", {"units": 3, "activation": "gelu"}]], "input": [4, 2]},
            "layer 0, GRU: the activation 'gelu' cannot be exported to ONNX; relu, sigmoid",
        ),
        ({"input": [None]}, "input is the shape of one row"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_its_layer(
    config: dict[str, Any], sentence: str
) -> None:
    """Before a file is written that answers otherwise."""
    whole = {"input": [4], "layers": [["Dense", {"units": 2}]], **config}
    architecture = {"name": "sequential", "config": whole}
    with pytest.raises(TrainingError, match=sentence):
        onnx_of(architecture, drawn(architecture))


def test_a_file_that_answers_otherwise_is_refused() -> None:
    """Whatever an exporter did wrong; the check is not the exporter's."""
    layers = [["Dense", {"units": 3}]]
    architecture = {"name": "sequential", "config": {"input": [2], "layers": layers}}
    file = onnx_of(architecture, drawn(architecture))
    rows = np.ones((2, 2), np.float32)
    right = onnx_file.run(file, rows)
    onnx_file.check_outputs(file, rows, right)
    with pytest.raises(TrainingError, match=r"outputs differ from the model's by up to 0\.01"):
        onnx_file.check_outputs(file, rows, right + np.float32(0.01))
    with pytest.raises(TrainingError, match=r"answers \(2, 3\) for 2 rows, the model \(2,\)"):
        onnx_file.check_outputs(file, rows, right[:, 0])
    with pytest.raises(TrainingError, match="differ"):
        onnx_file.check_outputs(file, rows, right * np.float32(np.nan))
