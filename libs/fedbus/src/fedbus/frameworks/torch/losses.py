"""Losses of PyTorch by the job file's names, and outputs and targets in the form they take."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fedbus.errors import TrainingError
from fedbus.frameworks.outputs import OutputActivation
from fedbus.model.layout import Array
from fedbus.training.labels import check_binary_targets, class_targets, single_output_hint

_ROWS_AND_CLASSES = 2
_LEAST = 1e-7
"""Probabilities keep this distance from 0 and 1 before their logarithm, as in Keras."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps outputs, shape (rows, …), and targets of `target_of` to the mean loss of the batch."""


def _kl(outputs: Tensor, target: Tensor) -> Tensor:
    return functional.kl_div(outputs.log_softmax(dim=1), target, reduction="batchmean")


_poisson: Final = partial(functional.poisson_nll_loss, log_input=False)
_OF_CLASSES: Final[Mapping[str, Loss]] = dict.fromkeys(
    ("categorical_crossentropy", "sparse_categorical_crossentropy", "cross_entropy"),
    functional.cross_entropy,
)
LOSSES: Final[Mapping[str, Loss]] = {
    **_OF_CLASSES,
    "kl_divergence": _kl,
    "binary_crossentropy": functional.binary_cross_entropy_with_logits,
    **dict.fromkeys(("mean_squared_error", "mse"), functional.mse_loss),
    **dict.fromkeys(("mean_absolute_error", "mae", "l1"), functional.l1_loss),
    "smooth_l1": functional.smooth_l1_loss,
    "huber": functional.huber_loss,
    "poisson": _poisson,
}
"""Losses of classes and binary ones take scores, as `aligned` returns them; others the outputs."""

CLASS_LOSSES: Final = frozenset({*_OF_CLASSES, "kl_divergence"})
"""Losses of classes, of which one is correct."""
BINARY_LOSSES: Final = frozenset({"binary_crossentropy"})
"""Binary losses: each output is a class of its own, yes or no."""


def aligned(
    outputs: Tensor, y: Array, loss: str, activation: OutputActivation
) -> tuple[Tensor, Tensor]:
    """Return outputs and targets in the form that a loss and the metrics take.

    Losses of classes take scores of shape (n, classes), with one row for each place of a sequence
    or image: classes are the last axis, or the second one if the shape of y shows it. Probabilities
    are converted to scores, so that softmax is not applied twice.

    Raises:
        TrainingError: Outputs and labels do not fit each other, or the loss.
    """
    if loss in CLASS_LOSSES and outputs.ndim > _ROWS_AND_CLASSES:
        shape = tuple(outputs.shape)
        places = (shape[0], *shape[2:])
        if y.shape in {places, (*places, 1)} and y.shape != shape[:-1]:
            outputs = outputs.movedim(1, -1)
        y = class_targets(y, tuple(outputs.shape[:-1]), outputs.shape[-1])
        y = y.reshape(-1, outputs.shape[-1]) if y.dtype.kind == "f" else y.reshape(-1)
        outputs = outputs.reshape(-1, outputs.shape[-1])
    target = target_of(y, outputs, loss)
    if loss in CLASS_LOSSES and activation == "softmax":
        outputs = outputs.clamp(_LEAST, 1).log()
    elif loss in BINARY_LOSSES and activation == "sigmoid":
        outputs = outputs.clamp(_LEAST, 1 - _LEAST).logit()
    return outputs, target


def target_of(y: Array, outputs: Tensor, loss: str) -> Tensor:
    """Convert labels to targets: class numbers, class probabilities, or the shape of the outputs.

    Raises:
        TrainingError: The labels do not fit the outputs.
    """
    rows = outputs.shape[0]
    if loss not in CLASS_LOSSES:
        if y.dtype.kind not in "biuf" or y.size != outputs.numel() or len(y) != rows:
            shape = tuple(outputs.shape)
            raise TrainingError(f"y is {y.dtype} {y.shape}; the model answers {shape}")
        if loss in BINARY_LOSSES:
            check_binary_targets(y, loss)
        numbers = torch.from_numpy(y.astype(np.float32)).reshape(outputs.shape)
        return numbers.to(outputs.device)
    if outputs.ndim != _ROWS_AND_CLASSES:
        raise TrainingError(f"the model answers {tuple(outputs.shape)}, not (rows, classes)")
    if outputs.shape[1] == 1:
        raise TrainingError(single_output_hint(loss))
    classes = torch.from_numpy(class_targets(y, (rows,), outputs.shape[1])).to(outputs.device)
    if loss == "kl_divergence" and classes.ndim == 1:
        return functional.one_hot(classes, outputs.shape[1]).to(outputs.dtype)
    return classes
