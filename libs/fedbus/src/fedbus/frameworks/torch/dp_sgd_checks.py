"""Checks that a module can be trained with DP-SGD: each output must follow from one example.

The messages are those of Opacus in other words. What no list of layers can show is tried out: a
module of a plug-in may mix examples in its `forward`.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from fedbus.errors import PrivacyError
from fedbus.frameworks.installed import is_installed
from fedbus.frameworks.torch.example_gradients import ExampleGradients
from fedbus.model.layout import Array
from fedbus.training.dp_sgd import dp_sgd_fault
from fedbus.training.params import TrainingParams

OPACUS: Final = "opacus"
_REPLACED: Final[Mapping[type[nn.Module], str]] = {
    nn.LSTM: "opacus.layers.DPLSTM",
    nn.GRU: "opacus.layers.DPGRU",
    nn.RNN: "opacus.layers.DPRNN",
    nn.MultiheadAttention: "opacus.layers.DPMultiheadAttention",
}
_CLOSE: Final = 1e-3
"""Greatest difference of a sum of gradients to the gradient of the sum, relative to its largest
number: single precision, added up in another order."""
_TINY: Final = 1e-7
_PROBES: Final = (2, 3)
"""Numbers of rows: a dimension of a fixed size may be the same as one of them, not as both."""


def check_dp_sgd_training(
    net: nn.Module, params: TrainingParams, examples: int, package: str = OPACUS
) -> None:
    """Decline what is known before a training; `package` must be installed.

    Raises:
        PrivacyError: See `fedbus.plugins.UsesDpSgd`.
    """
    if params.dp_sgd is None:
        return
    if fault := dp_sgd_fault(params):
        raise PrivacyError(fault)
    if examples < params.dp_sgd.least_examples:
        raise PrivacyError(
            f"the job's ε holds for agents with {params.dp_sgd.least_examples} examples or more "
            "(least_examples), and this agent has fewer"
        )
    if not is_installed(package):
        raise PrivacyError(
            f"DP-SGD needs the package {package}, which is not installed here: "
            "pip install 'fedbus[dp-sgd]'"
        )
    for name, layer in net.named_modules():
        check_layer(name, layer)


def check_layer(name: str, layer: nn.Module) -> None:
    """Raise PrivacyError for a layer that mixes examples, or whose gradients are unknown."""
    kind = type(layer).__name__
    if isinstance(layer, _BatchNorm):
        raise PrivacyError(
            f"DP-SGD: the layer {name!r} is a {kind}, in which each example changes the others of "
            "its batch; use nn.GroupNorm or nn.LayerNorm in its place"
        )
    if isinstance(layer, _InstanceNorm) and layer.track_running_stats:
        raise PrivacyError(
            f"DP-SGD: the layer {name!r} is a {kind} with running statistics, to which no noise is "
            "added; set track_running_stats=False"
        )
    if (other := _REPLACED.get(type(layer))) is not None:
        raise PrivacyError(
            f"DP-SGD: the layer {name!r} is a {kind}, which computes no gradients of single "
            f"examples; use {other} in its place, which has the same tensors"
        )


def check_examples_apart(
    gradients: ExampleGradients,
    x: Array,
    answer: Callable[[Array], Tensor],
    score: Callable[[Array], Tensor],
) -> None:
    """Decline a module whose examples are not apart, by trying it with a few rows.

    Args:
        gradients: Those of the module's examples.
        x: One row of the data, shape (1, …).
        answer: Returns the outputs of some rows in training mode, with the same chance each time.
        score: Returns the mean loss of some rows, all with the same target.

    Raises:
        PrivacyError: An example changes the outputs of another one, or the gradients of examples
            do not add up to those of the module.
    """
    beside = [np.concatenate([x, other]) for other in (np.zeros_like(x), np.ones_like(x))]
    with torch.no_grad():
        first, second = (answer(rows)[0] for rows in beside)
    if not torch.allclose(first, second, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise PrivacyError(
            "DP-SGD: the model mixes examples: what it answers for one changes with the others of "
            "its batch, so the change that one example makes is not bounded; normalize each "
            "example on its own"
        )
    for rows in _PROBES:
        probe = np.concatenate([x, *(np.ones_like(x) for _ in range(rows - 1))])
        each, whole = gradients.compared(score(probe), rows)
        for name, gradient in whole.items():
            total = each[name].sum(dim=0) / rows if name in each else torch.zeros_like(gradient)
            if not _equal(total, gradient):
                raise PrivacyError(
                    f"DP-SGD: the gradients of single examples for {name!r} do not add up to the "
                    "gradient of a batch: use each parameter in the layer only that has it"
                )


def _equal(total: Tensor, gradient: Tensor) -> bool:
    """Return whether two gradients are equal; numbers that are not finite show no difference."""
    difference = (total - gradient).abs().max()
    return not bool(difference > _CLOSE * gradient.abs().max() + _TINY)
