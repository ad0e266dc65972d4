"""Loading of weights into a user's Keras model, and files for Keras and TensorFlow Lite."""

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


def load_weights(model: Any, weights: Weights) -> None:  # noqa: ANN401 - Keras has no types
    """Load weights into a built model; raise LayoutError if they do not fit it."""
    set_weights(model, check_fit(weights, weights_of(model)))


def _model_of(architecture: Architecture, weights: Weights) -> Any:  # noqa: ANN401 - Keras has no types
    model = build(architecture)
    load_weights(model, weights)
    return model


def tflite_of(architecture: Architecture, weights: Weights, answers: OutputKind | None) -> bytes:
    """Return a trainable `.tflite` file with these weights; the spec's `answers` decide its loss.

    Raises:
        TrainingError: The model is not installed here, or has a layer that cannot be exported.
        LayoutError: The weights do not fit the model.
    """
    return export(_model_of(architecture, weights), trained_with(None, answers))


def file_of(architecture: Architecture, weights: Weights) -> bytes:
    """Return a `.keras` file, for `keras.models.load_model` and `model.load_weights`.

    Raises:
        TrainingError: The model is not installed here.
        LayoutError: The weights do not fit the model.
    """
    model = _model_of(architecture, weights)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.read_bytes()
