"""Encoding `delta`: the change that a training made to the weights. Pure.

Floats are in their own dtype, whole numbers in a signed dtype that every difference fits
(`layout.DIFFERENCES`), booleans are -1, 0 or 1. Local tensors are left out: they never leave the
agent.
"""

import numpy as np

from fedbus.errors import LayoutError
from fedbus.model.encodings.dense import Dense
from fedbus.model.layout import Array, Layout, Tensor, Weights


class Delta(Dense):
    """The update of an agent."""

    name = "delta"

    def tensors(self, layout: Layout) -> tuple[Tensor, ...]:
        """Return the differences of the tensors that are not local."""
        return layout.shared


def write_difference(new: Weights, old: Weights, views: Weights) -> None:
    """Write `new - old`, for the tensors of `old`, into views of a delta without temporary arrays.

    Raises:
        LayoutError: A whole number changed by more than a signed 64-bit integer can hold.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # the collector refuses such numbers
        for name in old.keys() & views.keys():
            view = views[name]
            if new[name].dtype.kind == "f":
                np.subtract(new[name], old[name], out=view)
            else:
                _subtract_whole(name, new[name], old[name], view)


def _subtract_whole(name: str, new: Array, old: Array, out: Array) -> None:
    """Subtract integers or booleans in 64 bits; the dtype of `out` fits every difference."""
    difference = new.astype(np.int64) - old.astype(np.int64)
    if new.dtype.itemsize == out.itemsize and ((new >= old) != (difference >= 0)).any():
        raise LayoutError(
            f"tensor {name!r}: an {new.dtype.name} changed by more than 2^63, which no update holds"
        )
    np.copyto(out, difference, casting="unsafe")
