"""Transforms of the numbers of a row, of any shape."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from fedbus.data.dataset import Batch
from fedbus.data.format import DTYPES, Format
from fedbus.data.transforms.xy import Half, check_half, field, rows, with_field, with_rows
from fedbus.errors import TrainingError
from fedbus.text import listed

MAX_ONE_HOT_CLASSES: Final = 2**20


class Normalize:
    """Scale inputs from `low` … `high` to 0 … 1; values outside are an error, not clipped.

    Args:
        low: The number that becomes 0.
        high: The number that becomes 1.
    """

    def __init__(self, low: float = 0.0, high: float = 255.0) -> None:
        if not -np.inf < low < high < np.inf:
            raise TrainingError(f"low is {low} and high {high}: expected low below high")
        self._low, self._range = np.float32(low), np.float32(high - low)

    def transform_data(self, batch: Batch, _rng: np.random.Generator) -> Batch:
        """x: any shape; returns it as float32."""
        x, y = batch
        return (np.asarray(x, np.float32) - self._low) / self._range, y

    def transform_format(self, form: Format) -> Format:
        """Return the format, normalized."""
        return replace(form, x=replace(form.x, dtype="float32", normalized=True))


class Standardize:
    """Subtract `mean` and divide by `std`: one number each, or one for each of the last axis.

    Args:
        mean: The subtracted mean.
        std: The standard deviation, above 0.
    """

    def __init__(
        self, mean: float | Sequence[float] = 0.0, std: float | Sequence[float] = 1.0
    ) -> None:
        try:
            self._mean, self._std = np.array(mean, np.float32), np.array(std, np.float32)
            flat = max(self._mean.ndim, self._std.ndim) <= 1
        except (TypeError, ValueError) as error:
            raise TrainingError(f"mean and std: {error}") from error
        if not flat or not np.isfinite(self._mean).all() or not (self._std > 0).all():
            raise TrainingError(
                f"mean is {mean} and std {std}: expected finite numbers, std above 0"
            )
        if not np.isfinite(self._std).all():
            raise TrainingError(f"std is {std}: expected finite numbers")

    def transform_data(self, batch: Batch, _rng: np.random.Generator) -> Batch:
        """x: any shape; returns it as float32."""
        x, y = batch
        return (np.asarray(x, np.float32) - self._mean) / self._std, y

    def transform_format(self, form: Format) -> Format:
        """Return the format, not normalized: the range of the result is unknown."""
        last = form.x.size[-1:]
        for name, given in (("mean", self._mean), ("std", self._std)):
            if given.ndim and given.shape != last:
                raise TrainingError(
                    f"{name} has {len(given)} numbers; the last axis of {form.x} is another"
                )
        return replace(form, x=replace(form.x, dtype="float32", normalized=False))


class OneHot:
    """Encode class numbers as one-hot rows, float32.

    Args:
        classes: Number of classes, 2 or more.
        of: "x" or "y": the half of a row that is changed.
    """

    def __init__(self, classes: int, of: Half = "y") -> None:
        if type(classes) is not int or not 1 < classes <= MAX_ONE_HOT_CLASSES:
            raise TrainingError(f"classes is {classes!r}: expected 2 to {MAX_ONE_HOT_CLASSES}")
        self._classes, self._of = classes, check_half(of)

    @property
    def targets_only(self) -> bool:
        """Whether the transform changes y alone."""
        return self._of == "y"

    def transform_data(self, batch: Batch, _rng: np.random.Generator) -> Batch:
        """(rows,) or (rows, 1) whole numbers; returns (rows, classes)."""
        numbers = rows(batch, self._of).reshape(-1)
        whole = numbers.astype(np.int64)
        if numbers.size and (whole.min() < 0 or whole.max() >= self._classes):
            raise TrainingError(
                f"{self._of} holds {whole.min()} to {whole.max()}; a class is 0 to "
                f"{self._classes - 1}"
            )
        if (whole != numbers).any():
            raise TrainingError(f"{self._of} holds numbers that are not whole: no classes")
        made = np.zeros((len(numbers), self._classes), np.float32)
        made[np.arange(len(numbers)), whole] = 1
        return with_rows(batch, self._of, made)

    def transform_format(self, form: Format) -> Format:
        """Return the format of one-hot categories."""
        if field(form, self._of).size not in {(), (1,)}:
            raise TrainingError(
                f"one number in each row is taken, {field(form, self._of)} has more"
            )
        encoded = replace(
            field(form, self._of),
            kind="categorical",
            size=(self._classes,),
            dtype="float32",
            normalized=True,
        )
        return with_field(form, self._of, encoded)


class Cast:
    """Convert numbers to another dtype; a value outside its range is an error.

    A fraction is an error for an integer dtype, unless `rounded` rounds it to the nearest integer;
    between floating-point dtypes, numbers are rounded.

    Args:
        dtype: Name of the numpy dtype, as "float32".
        of: "x" or "y": the half of a row that is changed.
        rounded: Whether fractions become the nearest whole number.
    """

    def __init__(self, dtype: str, of: Half = "x", *, rounded: bool = False) -> None:
        if dtype not in DTYPES:
            raise TrainingError(f"dtype is {dtype!r}: expected {listed(DTYPES)}")
        self._dtype, self._of, self._rounded = np.dtype(dtype), check_half(of), rounded

    @property
    def targets_only(self) -> bool:
        """Whether the transform changes y alone."""
        return self._of == "y"

    def transform_data(self, batch: Batch, _rng: np.random.Generator) -> Batch:
        """Any shape; returns the same."""
        numbers = rows(batch, self._of)
        if self._rounded and self._dtype.kind in "iu":
            numbers = np.rint(numbers)
        if self._dtype.kind in "iu" and numbers.size:
            bounds = np.iinfo(self._dtype)
            if numbers.min() < bounds.min or numbers.max() > bounds.max:
                raise TrainingError(
                    f"{self._of} holds {numbers.min()} to {numbers.max()}; {self._dtype} takes "
                    f"{bounds.min} to {bounds.max}"
                )
        with np.errstate(over="ignore", invalid="ignore"):
            made = numbers.astype(self._dtype)
        if self._dtype.kind == "f" and not np.isfinite(made).all():
            raise TrainingError(f"{self._of} holds more than {self._dtype} can")
        if self._dtype.kind in "iub" and (lost := made != numbers).any():
            flag = self._dtype.kind == "b"
            takes = "0 and 1 alone" if flag else "whole numbers alone (rounded: true makes them)"
            raise TrainingError(
                f"{self._of} holds {numbers[lost][0]!s}; {self._dtype} takes {takes}"
            )
        return with_rows(batch, self._of, made)

    def transform_format(self, form: Format) -> Format:
        """Return the format with another dtype."""
        return with_field(form, self._of, replace(field(form, self._of), dtype=str(self._dtype)))
