"""Weights into somebody's own Keras model, and into files that Keras and TensorFlow Lite read."""

import tempfile
from pathlib import Path
from typing import Any

from fedbus.frameworks.keras.architectures import build
from fedbus.frameworks.keras.model_export import trained_with
from fedbus.frameworks.keras.tensors import set_weights, weights_of
from fedbus.frameworks.keras.tflite_export import export
from fedbus.model.layout import Weights
from fedbus.model.load_into import check_fit
from fedbus.training.params import Architecture
from fedbus.wire.output_kinds import OutputKind


def put(model: Any, weights: Weights) -> None:  # noqa: ANN401 - Keras has no types
    """Load a layout's weights into a built model.

    Raises:
        LayoutError: they are not those of this model.
    """
    set_weights(model, check_fit(weights, weights_of(model)))


def _model_of(architecture: Architecture, weights: Weights) -> Any:  # noqa: ANN401 - Keras has no types
    model = build(architecture)
    put(model, weights)
    return model


def tflite_of(architecture: Architecture, weights: Weights, answers: OutputKind | None) -> bytes:
    """Write a `.tflite` file that holds these weights, and can be trained on.

    `answers` is what the spec says of the model: it decides the loss.

    Raises:
        TrainingError: the model is not installed here, or has a layer that cannot be exported.
        LayoutError: the weights are not those of the model.
    """
    return export(_model_of(architecture, weights), trained_with(None, answers))


def file_of(architecture: Architecture, weights: Weights) -> bytes:
    """Write a `.keras` file, for `keras.models.load_model` and `model.load_weights`.

    Raises:
        TrainingError: the model is not installed here.
        LayoutError: the weights are not those of the model.
    """
    model = _model_of(architecture, weights)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.read_bytes()
