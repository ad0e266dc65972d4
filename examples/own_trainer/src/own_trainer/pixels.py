"""A loader of digits in a text file: 64 pixels from 0 to 16 and the digit, in each row."""

import numpy as np

from fedbus import Dataset


def pixels(path: str, batch: int = 32) -> Dataset:
    """Read rows; x is (rows, 64), float32, 0 to 1; y is (rows,), int64."""
    table = np.loadtxt(path, delimiter=",", dtype=np.float32, ndmin=2)
    x, y = table[:, :-1] / 16, table[:, -1].astype(np.int64)
    starts = range(0, len(x), batch)
    return Dataset(len(x), lambda: ((x[i : i + batch], y[i : i + batch]) for i in starts))
