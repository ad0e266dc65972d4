"""Targets of classification: labels, converted to the two forms that losses take. Pure.

Labels are class numbers of any dtype, with or without a last axis of length 1, or one row of class
probabilities for each example, such as one-hot rows. All frameworks convert them here, so they
accept the same labels.
"""

from typing import Final

import numpy as np

from fedbus.errors import TrainingError
from fedbus.model.layout import Array

_SUM_TOLERANCE: Final = 1e-3
"""Allowed difference of the sum of a row's class probabilities from 1."""
_CLASS_IDS_HINT: Final = (
    'the transform {"id": "class-ids", "parameters": {"first": %d}} makes class numbers from 0 of '
    "them"
)


def class_targets(y: Array, places: tuple[int, ...], classes: int) -> Array:
    """Convert labels to class numbers or class probabilities.

    Args:
        y: Labels, of shape (*places), (*places, 1) or (*places, classes).
        places: The shape with one class at each place: (rows,), or (rows, …) for sequences and
            images.

    Returns:
        Class numbers, int64 of shape (*places), or probabilities, float32 of shape
        (*places, classes).

    Raises:
        TrainingError: The labels have another shape, are no classes of this model, or name several
            classes in a row; the message names the transform that corrects them.
    """
    if y.dtype.kind not in "biuf":
        raise TrainingError(f"expected class numbers in y, got {y.dtype}")
    if y.shape in {places, (*places, 1)}:
        return _numbers(y.reshape(places), classes)
    if y.shape != (*places, classes):
        hint = ""
        if y.ndim == len(places) + 1 and y.shape[:-1] == places:
            hint = f" (rows of {y.shape[-1]} classes, and the model has {classes})"
        raise TrainingError(
            f"y is {y.dtype} {y.shape}; wanted are class numbers, {places}, or shares of classes, "
            f"{(*places, classes)}{hint}"
        )
    return _probabilities(y, classes)


def sample_classes(targets: Array, rng: "np.random.Generator") -> Array:
    """Sample a class number for each row of class probabilities; return class numbers unchanged.

    For training steps that take class numbers only: the expected gradient is that of the
    probabilities.

    Args:
        targets: Shape (rows,), class numbers, or (rows, classes), probabilities.
    """
    if targets.ndim == 1:
        return targets
    bounds = np.cumsum(targets, axis=1)
    drawn = rng.random((len(targets), 1)) * bounds[:, -1:]
    classes: Array = np.minimum((bounds <= drawn).sum(axis=1), targets.shape[1] - 1)
    return classes


def single_output_hint(loss: str) -> str:
    """Return why a loss of classes cannot train a model with one output, and which loss can."""
    return (
        f"the model has one output, for which {loss} is always 0; use binary_crossentropy for a "
        "binary class, mean_squared_error for a quantity"
    )


def check_binary_targets(y: Array, loss: str) -> None:
    """Raise TrainingError for targets of a binary loss outside 0 to 1, with the range found."""
    if y.size and y.dtype.kind in "iuf" and (y.min() < 0 or y.max() > 1):
        hint = f"; {_CLASS_IDS_HINT % int(y.min())}" if y.max() - y.min() == 1 else ""
        raise TrainingError(f"y holds {y.min()} to {y.max()}; {loss} takes no as 0, yes as 1{hint}")


def _numbers(y: Array, classes: int) -> Array:
    if not y.size:
        return y.astype(np.int64)
    if y.dtype.kind == "f" and not (whole := y == np.floor(y)).all():
        raise TrainingError(
            f"y holds {y[~whole].flat[0]}, which is no class number; a loss of quantities takes it"
        )
    low, high = y.min(), y.max()
    if low < 0 or high >= classes:
        hint = f"; {_CLASS_IDS_HINT % int(low)}" if 0 <= high - low < classes and low else ""
        raise TrainingError(f"y holds {low:g} to {high:g}; a class is 0 to {classes - 1}{hint}")
    return y.astype(np.int64)


def _probabilities(y: Array, classes: int) -> Array:
    shares = y.astype(np.float32)
    rows = shares.reshape(-1, classes)
    off = np.abs(rows.sum(axis=1) - 1) > _SUM_TOLERANCE
    if not rows.size or not (off.any() or rows.min() < 0):
        return shares
    row = rows[int(np.argmax(off | (rows < 0).any(axis=1)))]
    raise TrainingError(
        f"y holds a row of {_format_row(row)}: a row holds one 1, or shares that add up to one; "
        "several labels in a row want binary_crossentropy"
    )


def _format_row(row: Array) -> str:
    shown = ", ".join(f"{number:g}" for number in row[:8])
    return f"[{shown}{', …' if len(row) > 8 else ''}]"  # noqa: PLR2004 - as many as are shown
