"""Loading of fedbus weights into a program's own model: PyTorch, Keras or TensorFlow Lite.

    import fedbus

    fedbus.load_into(net, "digits-v5.npz")

A layout stores some tensors in another form than a framework does (a dense layer of PyTorch is
transposed); the adapters of the built-in trainers convert them. Only the model's own framework is
imported.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from fedbus.errors import LayoutError
from fedbus.model.layout import Array, Layout, Weights
from fedbus.model.weight_files import read_weights
from fedbus.text import listed

LoadWeights = Callable[[Any, Weights], None]

_ADAPTERS: Final[Mapping[str, str]] = {
    "torch": "fedbus.frameworks.torch.loading",
    "keras": "fedbus.frameworks.keras.loading",
    "tflite_runtime": "fedbus.frameworks.tflite.loading",
    "ai_edge_litert": "fedbus.frameworks.tflite.loading",
    "tensorflow": "fedbus.frameworks.tflite.loading",
}
"""Modules with `load_weights`, by the package of the model's class or of one of its bases."""


def load_into(model: object, weights: str | Path | Weights) -> None:
    """Load weights into a `torch.nn.Module`, a built `keras.Model` or a TFLite interpreter.

    Args:
        model: Keeps its dtypes: floats are rounded to them.
        weights: A file of `fedbus models pull` (.npz or .safetensors), or arrays by name.

    Raises:
        LayoutError: The weights cannot be read, or do not fit the model; the message names the
            tensor.
        TypeError: The model is of no supported framework.
    """
    load_weights = _adapter(model)
    arrays = read_weights(weights) if isinstance(weights, str | Path) else weights
    load_weights(model, {name: np.asarray(array) for name, array in arrays.items()})


def check_fit(weights: Weights, own: Weights) -> dict[str, Array]:
    """Return arrays with a model's own dtypes; raise LayoutError if names or shapes differ."""
    if missing := own.keys() - weights.keys():
        raise LayoutError(f"the weights lack {listed(missing)}, which the model has")
    if foreign := weights.keys() - own.keys():
        raise LayoutError(f"the weights hold {listed(foreign)}, which the model does not have")
    fitted = {}
    for name, array in weights.items():
        dtype = own[name].dtype
        alike = np.can_cast(array.dtype, dtype, "same_kind")
        if array.shape != own[name].shape or not alike:
            raise LayoutError(
                f"tensor {name!r}: {array.dtype.name} {array.shape}, where the model has "
                f"{dtype.name} {own[name].shape}"
            )
        fitted[name] = array.astype(dtype)
    Layout.of(own).check(fitted)
    return fitted


def _adapter(model: object) -> LoadWeights:
    for kind in type(model).__mro__:
        home = _ADAPTERS.get(kind.__module__.partition(".")[0])
        if home is not None:
            return cast("LoadWeights", import_module(home).load_weights)
    raise TypeError(
        f"a {type(model).__name__}; a torch.nn.Module, a keras.Model or a TFLite interpreter takes "
        "weights"
    )
