"""Augmentations: random transforms for training only (`augments = True`).

Their generator is seeded by the task, so a repeated task gets the same rows.
"""

from dataclasses import replace

import numpy as np

from fedbus.data.dataset import Batch
from fedbus.data.format import Format
from fedbus.data.transforms.shapes import image_size
from fedbus.errors import TrainingError


class Flip:
    """Mirror each image with a probability: left to right, upside down.

    Args:
        horizontal: The probability of left to right.
        vertical: The probability of upside down.
    """

    augments = True

    def __init__(self, horizontal: float = 0.5, vertical: float = 0.0) -> None:
        for name, share in (("horizontal", horizontal), ("vertical", vertical)):
            if not 0 <= share <= 1:
                raise TrainingError(f"{name} is {share}: expected a probability, 0 to 1")
        self._horizontal, self._vertical = horizontal, vertical

    def transform_data(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """x: (rows, height, width, channels); returns the same."""
        x, y = batch
        x = x.copy()
        for share, axis in ((self._horizontal, 2), (self._vertical, 1)):
            chosen = rng.random(len(x)) < share
            x[chosen] = np.flip(x[chosen], axis)
        return x, y

    def transform_format(self, form: Format) -> Format:
        """Return the same format; check that x are images."""
        image_size(form)
        return form


class Crop:
    """Pad images with zeros on all sides, and crop them to the old size at a random place.

    Args:
        padding: Pixels on each side, 1 to 4096.
    """

    augments = True

    def __init__(self, padding: int = 4) -> None:
        if type(padding) is not int or not 0 < padding <= 4096:  # noqa: PLR2004 - more is a slip
            raise TrainingError(f"padding is {padding!r}: expected 1 to 4096 pixels")
        self._padding = padding

    def transform_data(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """x: (rows, height, width, channels); returns the same."""
        x, y = batch
        made = np.zeros_like(x)
        places = rng.integers(0, 2 * self._padding + 1, (2, len(x))) - self._padding
        for image, cut, top, left in zip(x, made, *places, strict=True):
            # A crop of the padded image is a shift with zeros at the border.
            (from_y, to_y), (from_x, to_x) = _moved(int(top)), _moved(int(left))
            cut[to_y, to_x] = image[from_y, from_x]
        return made, y

    def transform_format(self, form: Format) -> Format:
        """Return the same format; check that x are images."""
        image_size(form)
        return form


def _moved(by: int) -> tuple[slice, slice]:
    """Return the source and target slices of a shift by `by` pixels."""
    if by < 0:
        return slice(0, by), slice(-by, None)
    return slice(by, None), slice(0, -by or None)


class Noise:
    """Add normal noise to every input, and clip the result to low … high.

    Args:
        std: The standard deviation, 0 or more.
        low: Minimum of the result; by default not clipped.
        high: Maximum of the result; by default not clipped.
    """

    augments = True

    def __init__(
        self, std: float = 0.1, low: float | None = None, high: float | None = None
    ) -> None:
        self._low = -np.inf if low is None else low
        self._high = np.inf if high is None else high
        if not 0 <= std < np.inf or not self._low < self._high:
            raise TrainingError(
                f"std is {std}, low {low}, high {high}; std is 0 or more, low below high"
            )
        self._std = np.float32(std)

    def transform_data(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """x: any shape; returns it as float32."""
        x, y = batch
        noisy = np.asarray(x, np.float32) + self._std * rng.standard_normal(x.shape, np.float32)
        return np.clip(noisy, np.float32(self._low), np.float32(self._high)), y

    def transform_format(self, form: Format) -> Format:
        """Return the format; it stays normalized only if low and high are within -1 to 1."""
        cut = self._low >= -1 and self._high <= 1
        kept = form.x.normalized and cut
        return replace(form, x=replace(form.x, dtype="float32", normalized=kept))
