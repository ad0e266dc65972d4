"""Put a model's weights into a model of somebody's own program: torch, Keras, TensorFlow Lite.

    import fedbus

    fedbus.load_into(net, "digits-v5.npz")

Layouts turn what frameworks keep in their own way, a dense layer of torch say; the adapters that
agents use turn it back. No framework is imported that the program has not.
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

Put = Callable[[Any, Weights], None]

_ADAPTERS: Final[Mapping[str, str]] = {
    "torch": "fedbus.frameworks.torch.loading",
    "keras": "fedbus.frameworks.keras.loading",
    "tflite_runtime": "fedbus.frameworks.tflite.loading",
    "ai_edge_litert": "fedbus.frameworks.tflite.loading",
    "tensorflow": "fedbus.frameworks.tflite.loading",
}
"""Where `put` is, by the package of a model's class or of one that it inherits from."""


def load_into(model: object, weights: str | Path | Weights) -> None:
    """Load weights into a `torch.nn.Module`, a built `keras.Model` or a TFLite interpreter.

    Args:
        model: It keeps its own dtypes: floats are rounded to them.
        weights: A file as `fedbus models pull` writes it (.npz or .safetensors), or named arrays.

    Raises:
        LayoutError: they cannot be read, or are not those of this model; the sentence names which.
        TypeError: no framework's model.
    """
    put = _adapter(model)
    arrays = read_weights(weights) if isinstance(weights, str | Path) else weights
    put(model, {name: np.asarray(array) for name, array in arrays.items()})


def check_fit(weights: Weights, own: Weights) -> dict[str, Array]:
    """Hold arrays against a model's own, and give them its dtypes.

    Raises:
        LayoutError: a name or a shape is another one, or floats would become whole numbers.
    """
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


def _adapter(model: object) -> Put:
    for kind in type(model).__mro__:
        home = _ADAPTERS.get(kind.__module__.partition(".")[0])
        if home is not None:
            return cast("Put", import_module(home).put)
    raise TypeError(
        f"a {type(model).__name__}; a torch.nn.Module, a keras.Model or a TFLite interpreter takes "
        "weights"
    )
