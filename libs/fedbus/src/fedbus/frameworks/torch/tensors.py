"""Tensors of a PyTorch module under a layout's names, shapes, dtypes and roles.

Names are those of `state_dict`. A dense layer's weight is (inputs, outputs), which torch keeps
transposed, so that agents of other frameworks train the same model. bfloat16, which numpy does not
have, becomes float32. A tensor with two names (tied weights) is stored under the first; an empty
one is left out.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fedbus.errors import LayoutError
from fedbus.model.layout import DTYPES, Array, Role, Weights

_CARRIED_AS: Final = {torch.bfloat16: torch.float32}
_STEPS: Final = 8
"""Steps of a sequence."""
_SIDES: Final = (28, 32, 8, 64, 96, 128, 224)
"""Sides of images in common data sets."""


def weights_of(net: nn.Module) -> dict[str, Array]:
    """Return copies of a module's tensors by the layout's names.

    Raises:
        LayoutError: A tensor is complex, quantized, sparse, or has no shape yet.
    """
    dense = dense_weights(net)
    arrays: dict[str, Array] = {}
    for name, tensor in _carried(net).items():
        array = _array(name, tensor)
        arrays[name] = np.array(array.T if name in dense else array, order="C")
    return arrays


def set_weights(net: nn.Module, weights: Weights) -> None:
    """Copy weights, named and shaped like those of `weights_of`, into a module."""
    net.load_state_dict({**net.state_dict(), **state_of(net, weights)})


def state_of(net: nn.Module, weights: Weights) -> dict[str, Tensor]:
    """Return a state dict of a layout's weights, with tied weights under each name."""
    dense = dense_weights(net)
    state: dict[str, Tensor] = {}
    first: dict[int, str] = {}
    for name, tensor in net.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor) or not tensor.numel():
            continue
        source = first.setdefault(id(tensor), name)
        array = weights[source]
        turned = array.T if source in dense else array
        # Copied: PyTorch takes no arrays that are read-only or of another byte order.
        kept = np.array(turned, turned.dtype.newbyteorder("="), order="C")
        state[name] = torch.from_numpy(kept).to(tensor.dtype)
    return state


def roles_of(net: nn.Module) -> dict[str, Role]:
    """Return the roles of tensors that no gradient changes: running means, counters, indices."""
    trained = {name for name, _ in net.named_parameters(remove_duplicate=False)}
    return {name: "statistic" for name in _carried(net) if name not in trained}


def dense_weights(net: nn.Module) -> frozenset[str]:
    """Return the names of tensors that a layout has transposed: weights of dense layers."""
    modules = net.named_modules()
    return frozenset(f"{path}.weight" for path, m in modules if isinstance(m, nn.Linear))


def first_dtype(net: nn.Module) -> torch.dtype:
    """Return the dtype of a module's first floating-point parameter."""
    floats = (weight.dtype for weight in net.parameters() if weight.dtype.is_floating_point)
    return next(floats, torch.float32)


def normalizes_batches(net: nn.Module) -> str | None:
    """Return the name of the first layer that cannot train on a batch of one row, or None."""
    # One image or sequence has many values for each channel.
    kinds = nn.BatchNorm1d | nn.SyncBatchNorm
    return next((name for name, layer in net.named_modules() if isinstance(layer, kinds)), None)


def likely_rows(net: nn.Module) -> tuple[tuple[int, ...], ...]:
    """Return possible shapes of a row, derived from the first layer; the most likely first."""
    return next(filter(None, map(_rows_of, net.modules())), ())


def _rows_of(layer: nn.Module) -> tuple[tuple[int, ...], ...]:
    rows: tuple[tuple[int, ...], ...] = ()
    match layer:
        case nn.Linear():
            wide = layer.in_features
            rows = (wide,), (_STEPS, wide)
        case nn.Embedding() | nn.EmbeddingBag():
            rows = ((_STEPS,),)
        case nn.RNNBase():
            rows = ((_STEPS, layer.input_size),)
        case nn.Conv1d():
            rows = (layer.in_channels, 64), (layer.in_channels, 256)
        case nn.Conv2d():
            rows = tuple((layer.in_channels, side, side) for side in _SIDES)
        case nn.LayerNorm():
            rows = tuple(layer.normalized_shape), (_STEPS, *layer.normalized_shape)
        case _:
            pass
    return rows


def least_batch(net: nn.Module) -> int:
    """Return the smallest number of rows in a training batch."""
    return 1 if normalizes_batches(net) is None else 2


def _carried(net: nn.Module) -> dict[str, Tensor]:
    """Return the tensors in a module's state dict, each once.

    Raises:
        LayoutError: A tensor has no shape yet, or a value is no tensor.
    """
    for name, weight in (*net.named_parameters(), *net.named_buffers()):
        if is_lazy(weight):
            raise LayoutError(
                f"tensor {name!r} is lazy: it has no shape before the net has seen a row; give its "
                "layer the sizes, nn.Linear(64, 10) for nn.LazyLinear(10)"
            )
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in net.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):
            kind = type(tensor).__name__
            raise LayoutError(f"{name!r} of the net's state is a {kind}; only tensors are carried")
        if tensor.numel() and id(tensor) not in seen:
            found[name] = tensor
            seen.add(id(tensor))
    return found


def _array(name: str, tensor: Tensor) -> Array:
    tensor = tensor.detach().to(_CARRIED_AS.get(tensor.dtype, tensor.dtype))
    try:
        array: Array = tensor.cpu().numpy()
    except (TypeError, RuntimeError) as error:  # of a kind that numpy does not have
        raise LayoutError(f"tensor {name!r} {_unfit(tensor)}") from error
    if array.dtype.name not in DTYPES:
        raise LayoutError(f"tensor {name!r} {_unfit(tensor)}")
    return array


def _unfit(tensor: Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    layout = str(tensor.layout).removeprefix("torch.")
    return (
        f"is {kind}, {layout}, which no layout has: real numbers, whole numbers and truth values "
        "in strides are carried"
    )
