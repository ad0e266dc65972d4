"""Transform of targets to class numbers from 0."""

from dataclasses import replace

import numpy as np

from fedbus.data.dataset import Batch
from fedbus.data.format import Format
from fedbus.errors import TrainingError
from fedbus.model.layout import Array


class ClassIds:
    """Make class numbers from 0, int64, of y: ids of any dtype, a column of ids, or one-hot rows.

    Args:
        first: The number of the first class in y; 1 for ids that start at 1.
        nearest: Whether soft labels become the class of the greatest share.
    """

    targets_only = True

    def __init__(self, first: int = 0, *, nearest: bool = False) -> None:
        if type(first) is not int:
            raise TrainingError(f"first is {first!r}: expected a whole number")
        self._first, self._nearest = first, nearest

    def transform_data(self, batch: Batch, _rng: np.random.Generator) -> Batch:
        """y: (rows,), (rows, 1) or (rows, classes); returns (rows,) int64."""
        x, y = batch
        if y.ndim == 2 and y.shape[1] > 1:  # noqa: PLR2004 - rows and classes
            return x, self._of_rows(y)
        ids = y.reshape(-1)
        whole = np.rint(ids).astype(np.int64)
        if (whole != ids).any():
            raise TrainingError(f"y holds {ids[whole != ids][0]}, which is no class number")
        if whole.size and whole.min() < self._first:
            raise TrainingError(f"y holds {whole.min()}, expected class numbers from {self._first}")
        return x, whole - self._first

    def _of_rows(self, y: Array) -> Array:
        shares = y.astype(np.float64)
        hot = (shares == 1).sum(axis=1) == 1
        if not self._nearest and not (hot & ((shares != 0).sum(axis=1) == 1)).all():
            row = int(np.argmin(hot))
            raise TrainingError(
                f"y[{row}] is {shares[row].tolist()}, not one 1 among zeros; "
                '"nearest": true takes the class of the greatest share'
            )
        classes: Array = shares.argmax(axis=1).astype(np.int64)
        return classes

    def transform_format(self, form: Format) -> Format:
        """Return a format with one class number in each row."""
        if len(form.y.size) > 1:
            raise TrainingError(f"one number or one row of shares is taken, {form.y} has more")
        made = replace(form.y, kind="categorical", size=(), dtype="int64", normalized=False)
        return replace(form, y=made)
