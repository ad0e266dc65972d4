"""Variables of a Keras model under a layout's names, shapes, dtypes and roles.

The weights of the i-th layer that has any are `layers.i.weight` and `layers.i.bias`, shaped as
Keras shapes them: a dense layer's is (inputs, outputs). So agents of other frameworks train
the same model. bfloat16, which numpy does not have, becomes float32; the state of random number
generators is left out.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from fedbus.errors import LayoutError
from fedbus.model.layout import DTYPES, Array, Role, Weights

_RENAMED: Final = {"kernel": "weight", "embeddings": "weight"}
_NUMBERED: Final = re.compile(r"_\d+$")
_BRAIN: Final = "bfloat16"


def named(model: Any) -> dict[str, Any]:  # noqa: ANN401 - Keras has no types
    """Return a model's variables by the layout's names, in the order of the model."""
    found: dict[str, Any] = {}
    with_weights = [layer for layer in model.layers if layer.weights]
    for index, layer in enumerate(with_weights):
        for name, variable in _of_layer(layer):
            found[f"layers.{index}.{name}"] = variable
    return found


def _of_layer(layer: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - Keras has no types
    """Yield a layer's variables by name; with the path, if inner layers have equal names.

    Keras numbers layers over the whole process (`dense_7`). A model that is built again must get
    the same names, so these numbers are left out, and equal names are counted.
    """
    variables = [v for v in layer.weights if "seed_generator" not in v.path]
    own = Counter(_own(variable) for variable in variables)
    seen: Counter[str] = Counter()
    for variable in variables:
        name = _own(variable)
        if own[name] > 1:
            way = [_NUMBERED.sub("", part) for part in variable.path.split("/")[:-1]]
            inside = way[1:] if way[:1] == [_NUMBERED.sub("", layer.name)] else way
            name = ".".join([*inside, name])
        seen[name] += 1
        yield (f"{name}.{seen[name]}" if seen[name] > 1 else name), variable


def _own(variable: Any) -> str:  # noqa: ANN401 - Keras has no types
    name: str = variable.path.rpartition("/")[2]
    return _RENAMED.get(name, name)


def weights_of(model: Any) -> dict[str, Array]:  # noqa: ANN401 - Keras has no types
    """Copy a model's variables, by the layout's names; raise LayoutError for unknown dtypes."""
    return {name: _array(name, variable) for name, variable in named(model).items()}


def _array(name: str, variable: Any) -> Array:  # noqa: ANN401 - Keras has no types
    array = np.array(variable)
    if array.dtype.name == _BRAIN:
        array = array.astype(np.float32)
    if array.dtype.name not in DTYPES:
        raise LayoutError(
            f"tensor {name!r} ({variable.path}) is {array.dtype}, which no layout has"
        )
    return array


def set_weights(model: Any, weights: Weights) -> None:  # noqa: ANN401 - Keras has no types
    """Copy weights, named and shaped like those of `weights_of`, into a model."""
    for name, variable in named(model).items():
        variable.assign(weights[name])
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # adapted layers compute with copies of their variables


def roles_of(model: Any) -> dict[str, Role]:  # noqa: ANN401 - Keras has no types
    """Return roles of tensors that no gradient changes: moving means, adapted or frozen layers."""
    return {name: "statistic" for name, variable in named(model).items() if not variable.trainable}
