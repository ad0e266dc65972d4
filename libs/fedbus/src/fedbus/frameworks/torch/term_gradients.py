"""Gradients of a strategy's terms, added to those of the loss."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from fedbus.frameworks.torch.tensors import dense_weights
from fedbus.training.local_terms import LocalTerms

_GROUP_NUMBERS: Final = 2**20
"""Numbers whose differences to the base are computed at once: 4 MiB as float32."""


class TermGradients:
    """Terms of the trainable parameters of a module; those of frozen ones are constant.

    The factors of the linear term are copied. They and the base are on the device of the module,
    in the dtype of each parameter.
    """

    def __init__(self, net: nn.Module, terms: LocalTerms) -> None:
        dense = dense_weights(net)
        trained: dict[str, Tensor] = {
            name: weight for name, weight in net.named_parameters() if weight.requires_grad
        }
        self._proximal = terms.proximal
        self._linear: dict[Tensor, Tensor] = {}
        for name, weight in trained.items():
            array = terms.linear.get(name)
            if array is None:
                continue
            turned = array.T if name in dense else array
            kept = np.array(turned, turned.dtype.newbyteorder("="), order="C")
            self._linear[weight] = torch.from_numpy(kept).to(weight.device, weight.dtype)
        self._base: dict[Tensor, Tensor] = {}
        self._weights = [*trained.values()] if terms.proximal else [*self._linear]

    def keep_base(self) -> None:
        """Copy the present weights: the training starts from them."""
        if self._proximal:
            self._base = {weight: weight.detach().clone() for weight in self._weights}

    @torch.no_grad()
    def add(self) -> None:
        """Add the gradient of the terms to the gradient of each parameter.

        A parameter that the loss does not depend on gets one. A sparse gradient becomes dense for
        the sum, and sparse again: rows of zeros are left out.
        """
        for group in _grouped(self._weights):
            grads = {weight: _dense_gradient(weight) for weight in group}
            if linear := [weight for weight in group if weight in self._linear]:
                torch._foreach_add_(  # the loops of torch's own optimizers
                    [grads[weight] for weight in linear],
                    [self._linear[weight] for weight in linear],
                )
            if self._proximal:
                moved = torch._foreach_sub(  # noqa: SLF001 - it has no other name
                    group, [self._base[weight] for weight in group]
                )
                torch._foreach_add_([*grads.values()], moved, alpha=self._proximal)
            for weight, grad in grads.items():
                found = weight.grad
                if found is None or not found.is_sparse:
                    weight.grad = grad
                else:
                    weight.grad = grad.to_sparse(found.sparse_dim())

    @torch.no_grad()
    def value(self) -> Tensor:
        """Compute the terms themselves, which LBFGS compares between steps."""
        linear = [(factor * weight).sum() for weight, factor in self._linear.items()]
        squares = [(weight - base).square().sum() for weight, base in self._base.items()]
        return sum([*linear, *(self._proximal / 2 * each for each in squares)], torch.zeros(()))


def _dense_gradient(weight: Tensor) -> Tensor:
    if weight.grad is None:
        return torch.zeros_like(weight)
    return weight.grad.to_dense() if weight.grad.is_sparse else weight.grad


def _grouped(weights: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    group: list[Tensor] = []
    numbers = 0
    for weight in weights:
        if group and numbers + weight.numel() > _GROUP_NUMBERS:
            yield group
            group, numbers = [], 0
        group.append(weight)
        numbers += weight.numel()
    if group:
        yield group
