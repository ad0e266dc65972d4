"""Metrics by the job file's names, summed batch by batch.

Defined as in scikit-learn: precision, recall and F1 of classes are means over the classes
(`macro`); for binary outputs they are those of the positive class, over all outputs together
(`micro`). Accuracy is the fraction of correct predictions. Errors such as `mse` are computed from
probabilities if the loss is one of classes or binary.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fedbus.errors import TrainingError
from fedbus.frameworks.torch.losses import BINARY_LOSSES, CLASS_LOSSES, Loss
from fedbus.model.layout import Array
from fedbus.training.running_metrics import RunningMetrics

_TOP = 5
_YES = 0.5

_ACCURACIES: Final = frozenset({
    "accuracy", "categorical_accuracy", "sparse_categorical_accuracy", "binary_accuracy",
})  # fmt: skip
_AMONG_THE_FIRST: Final = frozenset({
    "top_k_categorical_accuracy", "sparse_top_k_categorical_accuracy",
})  # fmt: skip
_ROOTS: Final = frozenset({"root_mean_squared_error", "rmse"})
_ERRORS: Final[Mapping[str, Loss]] = {
    **dict.fromkeys(("mean_squared_error", "mse", *_ROOTS), functional.mse_loss),
    **dict.fromkeys(("mean_absolute_error", "mae"), functional.l1_loss),
}
_COUNTED: Final = frozenset({"precision", "recall", "f1"})
_OF_CLASSES: Final = _ACCURACIES | _AMONG_THE_FIRST | _COUNTED


class MetricSums:
    """Sums of a loss and of a job's metrics: call `add` for each batch, then `metrics`.

    Attributes:
        running: The loss and the number of rows.
        sums: For each metric that is a mean: the sum, and the number of values.
        counts: True positives, predictions and occurrences of each class; shape (3, classes).

    Raises:
        TrainingError: A metric of classes is named, and the loss is one of quantities.
    """

    def __init__(self, loss: str, names: Sequence[str]) -> None:
        self._loss = loss
        self._names = tuple(name for name in names if name != "loss")
        self.running = RunningMetrics()
        self.sums: dict[str, tuple[float, int]] = {}
        self.counts: Array | None = None
        if loss not in CLASS_LOSSES | BINARY_LOSSES and (wrong := _OF_CLASSES & {*names}):
            raise TrainingError(
                f"{min(wrong)} is a metric of classes, and {loss} a loss of quantities: there are "
                "no classes to be right on"
            )

    def add(self, loss: float, outputs: Tensor, target: Tensor, rows: int | None = None) -> None:
        """Add a batch: its mean loss, outputs and targets as `aligned` returns them, its rows."""
        outputs = outputs.detach()
        self.running.add(loss=loss, correct=0, examples=len(outputs) if rows is None else rows)
        for name in self._names:
            if name in _ERRORS:
                wrong = _ERRORS[name](
                    _probabilities(outputs, self._loss), _one_hot(target, outputs)
                )
                self._count(name, float(wrong) * outputs.numel(), outputs.numel())
            elif name not in _COUNTED:
                right = self._right(name, outputs, target)
                self._count(name, float(right.sum()), right.numel())
        if _COUNTED & {*self._names}:
            found = (_count_binary if self._loss in BINARY_LOSSES else _count_by_class)(
                outputs, target
            )
            self.counts = found if self.counts is None else self.counts + found

    def include(self, others: "MetricSums") -> None:
        """Add the sums of others, of the same loss and metrics."""
        self.running.loss += others.running.loss
        self.running.examples += others.running.examples
        for name, (value, count) in others.sums.items():
            self._count(name, value, count)
        if others.counts is not None:
            self.counts = others.counts if self.counts is None else self.counts + others.counts

    def metrics(self) -> dict[str, float]:
        """Compute the means; raise TrainingError if there was no row, or the loss is not finite."""
        means = {"loss": self.running.metrics()["loss"]}
        for name in self._names:
            if name in _COUNTED:
                means[name] = self._over_classes(name)
            else:
                total, count = self.sums[name]
                means[name] = float(np.sqrt(total / count)) if name in _ROOTS else total / count
        return means

    def _count(self, name: str, value: float, count: int) -> None:
        total, before = self.sums.get(name, (0.0, 0))
        self.sums[name] = total + value, before + count

    def _right(self, name: str, outputs: Tensor, target: Tensor) -> Tensor:
        if self._loss in BINARY_LOSSES:
            return (outputs > 0) == (target > _YES)
        classes = target if target.ndim == 1 else target.argmax(dim=1)
        if name in _AMONG_THE_FIRST:
            first = outputs.topk(min(_TOP, outputs.shape[1]), dim=1).indices
            return (first == classes[:, None]).any(dim=1)
        return outputs.argmax(dim=1) == classes

    def _over_classes(self, name: str) -> float:
        """Average over the classes that occur or were predicted."""
        assert self.counts is not None  # noqa: S101 - for the types: no row is refused above
        right, named, there = self.counts.astype(float)
        by = {"precision": named, "recall": there, "f1": (named + there) / 2}[name]
        each = np.divide(right, by, out=np.zeros_like(right), where=by > 0)
        counted = np.array([True]) if self._loss in BINARY_LOSSES else (named + there) > 0
        return float(each[counted].mean())


def _probabilities(outputs: Tensor, loss: str) -> Tensor:
    if loss in CLASS_LOSSES:
        return outputs.softmax(dim=1)
    return outputs.sigmoid() if loss in BINARY_LOSSES else outputs


def _one_hot(target: Tensor, outputs: Tensor) -> Tensor:
    if target.shape == outputs.shape:
        return target
    return functional.one_hot(target.long(), outputs.shape[1]).to(outputs.dtype)


def _count_by_class(outputs: Tensor, target: Tensor) -> Array:
    """Count true positives, predictions and occurrences of each class."""
    count: Callable[[Tensor], Tensor] = lambda which: torch.bincount(  # noqa: E731 - one expression
        which, minlength=outputs.shape[1]
    )
    classes = target if target.ndim == 1 else target.argmax(dim=1)
    named = outputs.argmax(dim=1)
    found = torch.stack([count(named[named == classes]), count(named), count(classes)])
    return np.asarray(found.cpu().numpy())


def _count_binary(outputs: Tensor, target: Tensor) -> Array:
    """Count true positives, predictions and occurrences of the positive class."""
    predicted, actual = outputs > 0, target > _YES
    found = torch.stack([(predicted & actual).sum(), predicted.sum(), actual.sum()])
    return np.asarray(found.cpu().numpy())[:, None]
