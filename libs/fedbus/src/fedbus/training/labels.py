"""Truths of classes as people's files have them, brought to the two forms that losses take. Pure.

Class numbers may be of any dtype, with an axis of one behind them; rows with a 1 at the class may
be of any dtype too, or hold shares of classes that add up to one. All frameworks read them here, so
that what one of them takes, all take.
"""

from typing import Final

import numpy as np

from fedbus.errors import TrainingError
from fedbus.model.layout import Array

_SUM: Final = 1e-3
"""How far from one the shares of a row may add up to."""
_MEND: Final = (
    'the transform {"id": "class-ids", "parameters": {"first": %d}} makes class numbers from 0 of '
    "them"
)


def class_targets(y: Array, places: tuple[int, ...], classes: int) -> Array:
    """Bring truths to class numbers or shares of classes.

    Args:
        y: As the data have it: (*places), (*places, 1) or (*places, classes).
        places: Where there is one class: (rows,), or (rows, …) for sequences and pictures.
        classes: How many the model has.

    Returns:
        int64 of shape places, or float32 of shape (*places, classes).

    Raises:
        TrainingError: they are of another shape, no classes of this model, or several in a row; the
            sentence names what mends them.
    """
    if y.dtype.kind not in "biuf":
        raise TrainingError(f"y is {y.dtype}, no class numbers")
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
    return _shares(y, classes)


def sample_classes(truths: Array, rng: np.random.Generator) -> Array:
    """Draw one class for each row of shares, as likely as its share; class numbers stay.

    The mean gradient is that of the shares: for steps that take class numbers alone.
    """
    if truths.ndim == 1:
        return truths
    bounds = np.cumsum(truths, axis=1)
    drawn = rng.random((len(truths), 1)) * bounds[:, -1:]
    classes: Array = np.minimum((bounds <= drawn).sum(axis=1), truths.shape[1] - 1)
    return classes


def check_binary_targets(y: Array, loss: str) -> None:
    """Refuse truths beyond 0 to 1 where each output is yes or no.

    Raises:
        TrainingError: says how far they go.
    """
    if y.size and y.dtype.kind in "iuf" and (y.min() < 0 or y.max() > 1):
        hint = f"; {_MEND % int(y.min())}" if y.max() - y.min() == 1 else ""
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
        hint = f"; {_MEND % int(low)}" if 0 <= high - low < classes and low else ""
        raise TrainingError(f"y holds {low:g} to {high:g}; a class is 0 to {classes - 1}{hint}")
    return y.astype(np.int64)


def _shares(y: Array, classes: int) -> Array:
    shares = y.astype(np.float32)
    rows = shares.reshape(-1, classes)
    off = np.abs(rows.sum(axis=1) - 1) > _SUM
    if not rows.size or not (off.any() or rows.min() < 0):
        return shares
    row = rows[int(np.argmax(off | (rows < 0).any(axis=1)))]
    raise TrainingError(
        f"y holds a row of {_told(row)}: a row holds one 1, or shares that add up to one; several "
        "labels in a row want binary_crossentropy"
    )


def _told(row: Array) -> str:
    shown = ", ".join(f"{number:g}" for number in row[:8])
    return f"[{shown}{', …' if len(row) > 8 else ''}]"  # noqa: PLR2004 - as many as are shown
