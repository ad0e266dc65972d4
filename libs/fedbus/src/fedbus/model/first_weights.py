"""First weights of a model by its layout alone: zeros, or drawn from a seed. Pure.

The numbers of matrices and filters are normal with the variance of K. He et al. 2015 (arXiv
1502.01852), 2 / inputs, where the inputs are all dimensions but the last, as layouts have them. All
other tensors, biases say, are zero, and statistics keep what their framework begins with.
"""

import math
from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from fedbus.model.layout import Array, Layout, Tensor, Weights

Init: TypeAlias = Literal["zeros", "random", "framework"]
INITS: Final[tuple[str, ...]] = get_args(Init)
"""How first weights are made: `framework` is as a framework of the model begins."""

_MATRIX: Final = 2
"""Dimensions from which a tensor has inputs and outputs."""


def zero_weights(layout: Layout, own: Weights | None = None) -> dict[str, Array]:
    """Return zeros; tensors of the role `statistic` from `own`, a framework's weights, if given.

    A moving variance of zero would make a batch normalization divide by almost nothing.
    """
    return {each.name: _statistic(each, own) for each in layout.tensors}


def drawn_weights(layout: Layout, seed: int, own: Weights | None = None) -> dict[str, Array]:
    """Return weights drawn from a seed, the same on every machine; `own` as for `zero_weights`."""
    rng = np.random.default_rng(seed)
    return {each.name: _drawn(each, rng, own) for each in layout.tensors}


def _statistic(tensor: Tensor, own: Weights | None) -> Array:
    if own is not None and tensor.role == "statistic":
        return np.array(own[tensor.name])
    return np.zeros(tensor.shape, tensor.dtype)


def _drawn(tensor: Tensor, rng: np.random.Generator, own: Weights | None) -> Array:
    array = _statistic(tensor, own)
    if tensor.role == "statistic" or array.dtype.kind != "f":
        return array
    if array.ndim < _MATRIX:
        scales = own is not None and bool(np.all(own[tensor.name] == 1))
        return np.ones_like(array) if scales else array  # factors of a normalization
    spread = math.sqrt(2 / max(1, math.prod(tensor.shape[:-1])))
    return rng.normal(0, spread, tensor.shape).astype(tensor.dtype)
