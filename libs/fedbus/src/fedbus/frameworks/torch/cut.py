"""A PyTorch module cut in two: the layers that compute features, and those that take them.

A module can be cut if it is an `nn.Sequential`, or if its method `layers_in_order()` returns the
modules which, called one after the other, are its `forward`.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from fedbus.data import Batch, Dataset
from fedbus.errors import TrainingError
from fedbus.model.layout import Array


def cut(net: nn.Module, layers: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Return the first `layers` layers of a module, and the others.

    Raises:
        TrainingError: The module's layers are not known, there are too few, or a tensor is used on
            both sides.
    """
    modules = _in_order(net)
    if not 0 < layers < len(modules):
        raise TrainingError(
            f"cut_layer {layers}: the model has {len(modules)} layers, and at least one must be on "
            f"each side: 1 to {len(modules) - 1}"
        )
    before, after = nn.Sequential(*modules[:layers]), nn.Sequential(*modules[layers:])
    if shared := _tensors(before) & _tensors(after):
        raise TrainingError(
            f"cut_layer {layers}: {len(shared)} tensors of the model are used before and after it; "
            "MistNet trains the layers after the cut alone"
        )
    return before, after


def features(
    net: nn.Module, layers: int, data: Dataset, inputs: Callable[[Array], Tensor]
) -> Iterator[Batch]:
    """Compute the outputs of the first `layers` layers for all rows, with the labels of the rows.

    Raises:
        TrainingError: The module cannot be cut there; or its parts compute something else.
    """
    before, after = cut(net, layers)
    net.eval()
    checked = False
    with torch.inference_mode():
        for x, y in data.batches():
            rows = inputs(x)
            found = _called(before, rows)
            if not checked:
                _check_parts(net, after, rows, found)
                checked = True
            yield found.float().cpu().numpy(), y


def _called(part: nn.Module, rows: Tensor) -> Tensor:
    try:
        found = part(rows)
    except (RuntimeError, TypeError, IndexError, ValueError) as error:
        raise TrainingError(f"the layers before the cut cannot take the rows: {error}") from error
    if not isinstance(found, Tensor) or found.shape[:1] != rows.shape[:1]:
        raise TrainingError("the layers before the cut return no tensor of one row per example")
    return found


def _check_parts(net: nn.Module, after: nn.Module, rows: Tensor, found: Tensor) -> None:
    """Compare the two parts, one after the other, with the module itself."""
    whole, joined = net(rows), after(found)
    alike = isinstance(whole, Tensor) and isinstance(joined, Tensor) and whole.shape == joined.shape
    if not alike or not torch.allclose(whole, joined, rtol=1e-3, atol=1e-4):
        raise TrainingError(
            "the model's layers, called one after the other, compute something else than the model"
        )


def _in_order(net: nn.Module) -> Sequence[nn.Module]:
    if isinstance(net, nn.Sequential):
        return tuple(net)
    layers: object = getattr(net, "layers_in_order", None)
    made = layers() if callable(layers) else None
    if isinstance(made, list | tuple) and all(isinstance(each, nn.Module) for each in made):
        return made
    raise TrainingError(
        f"a {type(net).__name__} cannot be cut: it is no torch.nn.Sequential, and has no method "
        "layers_in_order() that returns its layers"
    )


def _tensors(part: nn.Module) -> set[int]:
    return {id(tensor) for tensor in chain(part.parameters(), part.buffers())}
