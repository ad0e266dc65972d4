"""Runtime of Keras models: those that agents train, and others with several inputs or outputs."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from fedbus.errors import TrainingError
from fedbus.frameworks.keras.architectures import build, check_shapes
from fedbus.frameworks.keras.tensors import roles_of, set_weights, weights_of
from fedbus.frameworks.keras.trainer import KerasTrainer
from fedbus.model.layout import DTYPES, Array, Layout, Weights
from fedbus.plugins import Predicts
from fedbus.text import listed
from fedbus.training.params import Architecture


def open_runtime(architecture: Architecture) -> Predicts:
    """Build a model: as a trainer if it has one input and one output, else to run only.

    Raises:
        TrainingError: The architecture is not valid, or the model is not built.
    """
    net = build(architecture)
    if net.built and max(len(net.inputs), len(net.outputs)) > 1:
        return KerasRuntime(architecture, net)
    check_shapes(net)
    return KerasTrainer(architecture)


class KerasRuntime:
    """Runs a model with several inputs or outputs; agents do not train it.

    Methods raise LayoutError for weights of another model.
    """

    def __init__(self, architecture: Architecture, net: Any) -> None:  # noqa: ANN401 - Keras has no types
        self._architecture = architecture
        self._net = net
        self._layout = Layout.of(weights_of(net), roles_of(net))
        self._inputs = {tensor.name: tensor for tensor in net.inputs}

    def initial(self) -> Weights:
        """Return the initial weights, drawn from the model's seed."""
        return weights_of(build(self._architecture))

    def load(self, weights: Weights) -> None:
        """Copy weights into the model; raise LayoutError if they do not fit it."""
        self._layout.check(weights)
        set_weights(self._net, weights)

    def predict(self, inputs: Array) -> Array | Mapping[str, Array]:
        """Return the outputs of a model with one input; raise TrainingError if it has several."""
        if len(self._inputs) != 1:
            raise TrainingError(f"the model has the inputs {listed(self._inputs)}: name each")
        return self.predict_named({next(iter(self._inputs)): inputs})

    def predict_named(self, inputs: Mapping[str, Array]) -> Array | Mapping[str, Array]:
        """Return the outputs for named inputs of (rows, …): an array, or several by name.

        Raises:
            TrainingError: The inputs do not fit the model.
        """
        if inputs.keys() != self._inputs.keys():
            raise TrainingError(
                f"the model takes {listed(self._inputs)}, and got {listed(inputs) or 'nothing'}"
            )
        rows = {name: np.asarray(a, self._inputs[name].dtype) for name, a in inputs.items()}
        try:
            found = self._net(rows if len(rows) > 1 else next(iter(rows.values())), training=False)
        except Exception as error:  # Keras and TensorFlow raise many kinds
            shapes = {name: array.shape for name, array in rows.items()}
            raise TrainingError(f"the model cannot take {shapes}: {error}") from error
        if isinstance(found, list | tuple):
            found = dict(zip(self._net.output_names, found, strict=True))
        if isinstance(found, Mapping):
            return {str(name): _array(each) for name, each in found.items()}
        return _array(found)


def _array(tensor: object) -> Array:
    found: Array = keras.ops.convert_to_numpy(tensor)
    return found if found.dtype.name in DTYPES else found.astype(np.float32)
