"""A torch net's numbers as a layout has them: names, shapes, dtypes, roles.

Names are those of `state_dict`. A dense layer's weight is (inputs, outputs), which torch keeps
transposed, so that agents of other frameworks average the same model. bfloat16, which numpy does
not have, is carried as float32. A tensor that a net has under two names (tied weights) is carried
under the first; an empty one has nothing to carry.
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
"""Of a sequence."""
_SIDES: Final = (28, 32, 8, 64, 96, 128, 224)
"""Of pictures, as data sets have them."""


def weights_of(net: nn.Module) -> dict[str, Array]:
    """Copy a net's numbers, named and shaped as the layout has them.

    Raises:
        LayoutError: a tensor cannot be carried: complex, quantized, sparse, without a shape yet.
    """
    dense = _dense_weights(net)
    arrays: dict[str, Array] = {}
    for name, tensor in _carried(net).items():
        array = _array(name, tensor)
        arrays[name] = np.array(array.T if name in dense else array, order="C")
    return arrays


def set_weights(net: nn.Module, weights: Weights) -> None:
    """Give a net numbers that are named and shaped as those of `weights_of`."""
    net.load_state_dict({**net.state_dict(), **state_of(net, weights)})


def state_of(net: nn.Module, weights: Weights) -> dict[str, Tensor]:
    """Make what `load_state_dict` takes out of a layout's weights, tied weights under each name."""
    dense = _dense_weights(net)
    state: dict[str, Tensor] = {}
    first: dict[int, str] = {}
    for name, tensor in net.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor) or not tensor.numel():
            continue
        source = first.setdefault(id(tensor), name)
        array = weights[source]
        turned = array.T if source in dense else array
        # Copied, since torch takes no arrays that are read-only, or of another byte order.
        kept = np.array(turned, turned.dtype.newbyteorder("="), order="C")
        state[name] = torch.from_numpy(kept).to(tensor.dtype)
    return state


def roles_of(net: nn.Module) -> dict[str, Role]:
    """Name the tensors that no gradient changes: running means, counters, indices."""
    trained = {name for name, _ in net.named_parameters(remove_duplicate=False)}
    return {name: "statistic" for name in _carried(net) if name not in trained}


def first_dtype(net: nn.Module) -> torch.dtype:
    """Tell of which floats a net computes: the dtype of its first weight that is one."""
    floats = (weight.dtype for weight in net.parameters() if weight.dtype.is_floating_point)
    return next(floats, torch.float32)


def normalizes_batches(net: nn.Module) -> str | None:
    """Name the first layer of a net that takes no batch of one row, if there is one."""
    # Over pictures or sequences one row has many values a channel.
    kinds = nn.BatchNorm1d | nn.SyncBatchNorm
    return next((name for name, layer in net.named_modules() if isinstance(layer, kinds)), None)


def likely_rows(net: nn.Module) -> tuple[tuple[int, ...], ...]:
    """Guess what a row looks like that a net takes, by its first layer; the likeliest first."""
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
    """Tell how many rows a batch needs that a net is trained on."""
    return 1 if normalizes_batches(net) is None else 2


def _carried(net: nn.Module) -> dict[str, Tensor]:
    """Find the tensors that a net would save, each once.

    Raises:
        LayoutError: one has no shape yet, or something is no tensor at all.
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


def _dense_weights(net: nn.Module) -> frozenset[str]:
    modules = net.named_modules()
    return frozenset(f"{path}.weight" for path, m in modules if isinstance(m, nn.Linear))
