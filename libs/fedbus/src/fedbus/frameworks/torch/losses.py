"""Losses and metrics by the job file's names."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fedbus.errors import TrainingError
from fedbus.layout import Array
from fedbus.training import Tally, check_labels

_ROWS_AND_CLASSES = 2
_TOP = 5

Loss = Callable[[Tensor, Tensor], Tensor]
"""The mean loss of a batch: of outputs, (rows, …), and truths as `truth_of` gives them."""


def _kl(outputs: Tensor, truth: Tensor) -> Tensor:
    return functional.kl_div(outputs.log_softmax(dim=1), truth, reduction="batchmean")


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
"""A model's last layer gives logits for the losses of classes, and the answer itself for others."""

_BY_CLASS: Final = frozenset({*_OF_CLASSES, "kl_divergence"})


def truth_of(y: Array, outputs: Tensor, loss: str) -> Tensor:
    """Give truths as a loss takes them: class numbers, shares of classes, or what outputs are like.

    Raises:
        TrainingError: they do not fit the outputs.
    """
    rows = outputs.shape[0]
    if loss not in _BY_CLASS:
        if y.dtype.kind not in "biuf" or y.size != outputs.numel() or len(y) != rows:
            shape = tuple(outputs.shape)
            raise TrainingError(f"y is {y.dtype} {y.shape}; the model answers {shape}")
        numbers = torch.from_numpy(y.astype(np.float32)).reshape(outputs.shape)
        return numbers.to(outputs.device)
    if outputs.ndim != _ROWS_AND_CLASSES:
        raise TrainingError(f"the model answers {tuple(outputs.shape)}, not (rows, classes)")
    if y.shape == tuple(outputs.shape) and y.dtype.kind == "f":
        return torch.from_numpy(y.astype(np.float32)).to(outputs.device)
    check_labels(y, rows, outputs.shape[1])
    classes = torch.from_numpy(y.astype(np.int64)).to(outputs.device)
    if loss == "kl_divergence":
        return functional.one_hot(classes, outputs.shape[1]).to(outputs.dtype)
    return classes


class Figures:
    """A loss and the metrics a job asks for, summed batch by batch: `add`, then `metrics`.

    Attributes:
        tally: The loss, and how many rows there were.
        sums: Of each metric that is a mean over rows.
        confusion: Rows by their class and by the class that was named, (classes, classes).
    """

    def __init__(self, loss: str, names: Sequence[str]) -> None:
        self._loss = loss
        self._names = tuple(name for name in names if name != "loss")
        self.tally = Tally()
        self.sums: dict[str, float] = {}
        self.confusion: Array | None = None

    def add(self, loss: float, outputs: Tensor, truth: Tensor) -> None:
        """Count one batch: its mean loss, its outputs, and truths as `truth_of` gives them."""
        outputs = outputs.detach()
        rows = outputs.shape[0]
        self.tally.add(loss=loss, correct=0, examples=rows)
        for name in self._names:
            if name in _RIGHT:
                right = _RIGHT[name](*_classes(outputs, truth, self._loss))
                self._count(name, float(right.sum()))
            elif name in _ERRORS:
                wrong = _ERRORS[name](outputs, _alike(truth, outputs))
                self._count(name, float(wrong) * rows)
        if _BY_CONFUSION & set(self._names):
            self._confuse(*_classes(outputs, truth, self._loss))

    def include(self, others: "Figures") -> None:
        """Count all that others have, of the same loss and metrics."""
        self.tally.loss += others.tally.loss
        self.tally.examples += others.tally.examples
        for name, value in others.sums.items():
            self._count(name, value)
        if others.confusion is not None:
            self._confused(others.confusion)

    def metrics(self) -> dict[str, float]:
        """Take the means over all rows; precision, recall and f1 are means over the classes.

        Raises:
            TrainingError: there was no row, or the loss is no finite number any more.
        """
        means = {"loss": self.tally.metrics()["loss"]}
        for name in self._names:
            if name in _BY_CONFUSION:
                means[name] = self._over_classes(name)
            else:
                mean = self.sums[name] / self.tally.examples
                means[name] = float(np.sqrt(mean)) if name in _ROOTS else mean
        return means

    def _count(self, name: str, value: float) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value

    def _confuse(self, scores: Tensor, classes: Tensor) -> None:
        count = scores.shape[1]
        pairs = classes * count + scores.argmax(dim=1)
        found = torch.bincount(pairs, minlength=count * count).cpu().numpy().reshape(count, count)
        self._confused(found)

    def _confused(self, found: Array) -> None:
        self.confusion = found if self.confusion is None else self.confusion + found

    def _over_classes(self, name: str) -> float:
        """Average over the classes that were there, or were named; rows are truths."""
        assert self.confusion is not None  # noqa: S101 - for the types: no row is refused above
        right = np.diag(self.confusion).astype(float)
        named, there = self.confusion.sum(axis=0), self.confusion.sum(axis=1)
        counted = (named + there) > 0
        by = {"precision": named, "recall": there, "f1": (named + there) / 2}[name]
        each = np.divide(right, by, out=np.zeros_like(right), where=by > 0)
        return float(each[counted].mean())


def _classes(outputs: Tensor, truth: Tensor, loss: str) -> tuple[Tensor, Tensor]:
    """Give scores, (rows, classes), and class numbers, (rows,), whatever the loss is.

    Raises:
        TrainingError: the model does not answer with classes.
    """
    if loss == "binary_crossentropy":
        score = outputs.reshape(-1)
        return torch.stack((-score, score), dim=1), truth.reshape(-1).round().long()
    if outputs.ndim != _ROWS_AND_CLASSES:
        raise TrainingError(f"the model answers {tuple(outputs.shape)}: no classes to be right on")
    if truth.ndim == 1:
        return outputs, truth.long()
    return outputs, truth.argmax(dim=1)


def _alike(truth: Tensor, outputs: Tensor) -> Tensor:
    if truth.shape == outputs.shape:
        return truth
    return functional.one_hot(truth.long(), outputs.shape[1]).to(outputs.dtype)


def _right(scores: Tensor, classes: Tensor) -> Tensor:
    return scores.argmax(dim=1) == classes


def _among_the_first(scores: Tensor, classes: Tensor) -> Tensor:
    first = scores.topk(min(_TOP, scores.shape[1]), dim=1).indices
    return (first == classes[:, None]).any(dim=1)


_RIGHT: Final[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = {
    **dict.fromkeys(
        (
            "accuracy",
            "categorical_accuracy",
            "sparse_categorical_accuracy",
            "binary_accuracy",
        ),
        _right,
    ),
    **dict.fromkeys(
        ("top_k_categorical_accuracy", "sparse_top_k_categorical_accuracy"), _among_the_first
    ),
}
_ROOTS: Final = frozenset({"root_mean_squared_error", "rmse"})
_ERRORS: Final[Mapping[str, Loss]] = {
    **dict.fromkeys(("mean_squared_error", "mse", *_ROOTS), functional.mse_loss),
    **dict.fromkeys(("mean_absolute_error", "mae"), functional.l1_loss),
}
_BY_CONFUSION: Final = frozenset({"precision", "recall", "f1"})
