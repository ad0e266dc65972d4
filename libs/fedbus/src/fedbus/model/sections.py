"""Sections: flat arrays that belong to the trained tensors of a model. Pure.

A strategy may need more than weights: control variates in an update, momenta in its state. Each is
one float32 array, as long as all trained tensors together and in their order, so that a block of it
belongs to the block of the weights at the same place. Trained tensors are those of the role
`weight` with a floating-point dtype.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import LayoutError
from fedbus.model.layout import Array, Layout, Tensor, Weights

SECTION_PREFIX: Final = "section:"
"""Begins the name of a section's tensor in the layout of an update."""


def trained_tensors(layout: Layout) -> tuple[Tensor, ...]:
    """Return the tensors that training changes by gradients, in the order of the layout."""
    return tuple(
        tensor
        for tensor in layout.tensors
        if tensor.role == "weight" and np.dtype(tensor.dtype).kind == "f"
    )


def untrained_tensors(layout: Layout) -> tuple[Tensor, ...]:
    """Return the tensors that are in updates although they are not trained, in their order.

    Those are statistics and whole numbers, which no privacy mechanism clips and noises.
    """
    trained = {tensor.name for tensor in trained_tensors(layout)}
    return tuple(
        tensor for tensor in layout.tensors if tensor.role != "local" and tensor.name not in trained
    )


def section_numbers(layout: Layout) -> int:
    """Return the length of each section; raise LayoutError if no tensor is trained."""
    numbers = sum(tensor.numbers for tensor in trained_tensors(layout))
    if not numbers:
        raise LayoutError("a model without floating-point weights: the strategy has none to train")
    return numbers


def update_layout(layout: Layout, sections: Sequence[str]) -> Layout:
    """Return the layout of a model's updates: its tensors, then one for each section."""
    if not sections:
        return layout
    shape = (section_numbers(layout),)
    added = (Tensor(f"{SECTION_PREFIX}{name}", shape, "float32") for name in sections)
    return Layout((*layout.tensors, *added))


def state_layout(layout: Layout, names: Sequence[str]) -> Layout:
    """Return the layout of a strategy's state arrays; there must be at least one."""
    shape = (section_numbers(layout),)
    return Layout(tuple(Tensor(name, shape, "float32") for name in names))


def split_section(section: Array, layout: Layout) -> dict[str, Array]:
    """Return views of a section, shape (numbers,), by tensor name, with the tensors' shapes."""
    views, start = {}, 0
    for tensor in trained_tensors(layout):
        views[tensor.name] = section[start : start + tensor.numbers].reshape(tensor.shape)
        start += tensor.numbers
    return views


def join_section(arrays: Weights, layout: Layout) -> NDArray[np.float32]:
    """Copy arrays by tensor name into one section, shape (numbers,).

    Raises:
        LayoutError: An array is missing, or has another shape than its tensor.
    """
    section = np.empty(section_numbers(layout), np.float32)
    for name, view in split_section(section, layout).items():
        array = arrays.get(name)
        if array is None or array.shape != view.shape:
            found = "none" if array is None else f"shape {array.shape}"
            raise LayoutError(f"section of {name!r}: expected shape {view.shape}, got {found}")
        np.copyto(view, array, casting="same_kind")
    return section
