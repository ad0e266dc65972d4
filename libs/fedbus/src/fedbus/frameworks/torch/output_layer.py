"""A module's last operation and declared loss, from which the meaning of its outputs follows.

The operation is read from the graph that autograd records, so a function at the end of `forward`
is found as well as a layer.
"""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from fedbus.frameworks.outputs import OutputActivation

_SHAPING: Final = (
    "View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Transpose", "Permute", "T",
    "Select", "Slice", "Clone", "ToCopy", "Alias",
)  # fmt: skip
"""Operations that change shape, strides or dtype, but no values."""

_DECLARED: Final = ("criterion", "loss", "loss_fn", "loss_function")
"""Attributes in which authors keep a module's loss."""
_LOSSES: Final[Mapping[type[nn.Module], str]] = {
    nn.CrossEntropyLoss: "cross_entropy",
    nn.NLLLoss: "cross_entropy",
    nn.BCELoss: "binary_crossentropy",
    nn.BCEWithLogitsLoss: "binary_crossentropy",
    nn.MultiLabelSoftMarginLoss: "binary_crossentropy",
    nn.MSELoss: "mean_squared_error",
    nn.L1Loss: "mean_absolute_error",
    nn.SmoothL1Loss: "smooth_l1",
    nn.HuberLoss: "huber",
    nn.PoissonNLLLoss: "poisson",
    nn.KLDivLoss: "kl_divergence",
}


def declared_loss(net: nn.Module) -> str | None:
    """Return the name of the loss that a module holds as an attribute; None if there is none."""
    for name in _DECLARED:
        held = getattr(net, name, None)
        if isinstance(held, nn.Module) and type(held) in _LOSSES:
            return _LOSSES[type(held)]
    return None


def output_activation_of(net: nn.Module, rows: Tensor) -> OutputActivation:
    """Run a module on some rows, without changing it, and return its last operation."""
    was = net.training
    net.eval()  # in training mode, a BatchNorm would count these rows
    if len(rows) == 1:
        rows = torch.cat((rows, rows))  # a BatchNorm without statistics needs two rows
    own = [rows.device] if rows.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(own), torch.inference_mode(mode=False), torch.enable_grad():
            outputs = net(rows.clone())
    finally:
        net.train(was)
    return _of(outputs)


def _of(outputs: object) -> OutputActivation:
    if isinstance(outputs, Mapping):
        outputs = next(iter(outputs.values()), None)
    elif isinstance(outputs, list | tuple):
        outputs = outputs[0] if outputs else None
    step: Any = outputs.grad_fn if isinstance(outputs, Tensor) else None
    while step is not None:
        name = step.name().rstrip("0123456789").removesuffix("Backward")
        if name == "Softmax":
            return "softmax"
        if name == "Sigmoid":
            return "sigmoid"
        if name not in _SHAPING:
            break
        step = step.next_functions[0][0] if step.next_functions else None
    return "scores"
