"""Transforms of the shape of a row; images are (height, width, channels) by default."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedbus.data.arrays import check_row
from fedbus.data.dataset import Batch
from fedbus.data.format import CHANNELS, Format, axes_of
from fedbus.data.transforms.xy import Half, check_half, field, rows, with_field, with_rows
from fedbus.errors import TrainingError
from fedbus.limits import MAX_DIMENSIONS

_GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Luma coefficients of red, green and blue (ITU-R BT.601)."""
_RGB = 3
MAX_WEIGHTS: Final = 2**24
"""Maximum size of the table of weights, old pixels times new pixels along one side."""


class Reshape:
    """Change the shape of each row; the number of its values stays.

    Args:
        size: The shape of a row; three lengths are an image.
        of: "x" or "y": the half of a row that is changed.
    """

    def __init__(self, size: Sequence[int], of: Half = "x") -> None:
        self._size = _whole("size", size, MAX_DIMENSIONS)
        self._of = check_half(of)

    @property
    def targets_only(self) -> bool:
        """Whether the transform changes y alone."""
        return self._of == "y"

    def transform_data(self, batch: Batch, _rng: np.random.Generator) -> Batch:
        """(rows, …); returns (rows, *size)."""
        given = rows(batch, self._of)
        return with_rows(batch, self._of, given.reshape(len(given), *self._size))

    def transform_format(self, form: Format) -> Format:
        """Return the format; three dimensions are an image."""
        given = field(form, self._of)
        if math.prod(given.size) != math.prod(self._size):
            raise TrainingError(
                f"{given} has {math.prod(given.size)} numbers, {list(self._size)} "
                f"{math.prod(self._size)}"
            )
        kind = given.kind
        if kind != "categorical":
            kind = "image" if len(self._size) == _RGB else "numerical"
        made = replace(given, kind=kind, size=self._size)
        return with_field(form, self._of, replace(made, axes=axes_of(made)))


class ChannelsFirst:
    """Convert images from (height, width, channels) to (channels, height, width), as in PyTorch.

    Loaders and other transforms use channels last, so put it at the end.
    """

    def transform_data(self, batch: Batch, _rng: np.random.Generator) -> Batch:
        """x: (rows, height, width, channels); returns (rows, channels, height, width)."""
        x, y = batch
        return np.ascontiguousarray(np.moveaxis(x, -1, 1)), y

    def transform_format(self, form: Format) -> Format:
        """Return the format with channels first."""
        height, width, channels = image_size(form)
        size = (channels, height, width)
        return replace(form, x=replace(form.x, size=size, axes="channels-first"))


class ChannelsLast:
    """Convert images from (channels, height, width) to (height, width, channels).

    Keras, TFLite and the other transforms need channels last.
    """

    def transform_data(self, batch: Batch, _rng: np.random.Generator) -> Batch:
        """x: (rows, channels, height, width); returns (rows, height, width, channels)."""
        x, y = batch
        return np.ascontiguousarray(np.moveaxis(x, 1, -1)), y

    def transform_format(self, form: Format) -> Format:
        """Return the format with channels last."""
        _check_image(form)
        channels, height, width = form.x.size
        if form.x.axes == "channels-last" and channels not in CHANNELS:
            raise TrainingError(f"the channels of {form.x} are last already")
        size = (height, width, channels)
        return replace(form, x=replace(form.x, size=size, axes="channels-last"))


class Resize:
    """Resize images to `size`, [height, width], with Pillow's bilinear filter.

    Args:
        size: Height and width.
    """

    def __init__(self, size: Sequence[int]) -> None:
        self._size = _whole("size", size, 2, least=2)

    def transform_data(self, batch: Batch, _rng: np.random.Generator) -> Batch:
        """x: (rows, height, width, channels); returns it as float32."""
        x, y = batch
        (height, width), (new_height, new_width) = x.shape[1:3], self._size
        made = np.asarray(x, np.float32)
        axes = [("hH,nHWc->nhWc", height, new_height), ("wW,nHWc->nHwc", width, new_width)]
        if new_height * width > height * new_width:
            axes.reverse()  # keeps the intermediate image small
        for subscripts, have, want in axes:
            made = np.einsum(subscripts, _weights(have, want), made, optimize=True)
        return made, y

    def transform_format(self, form: Format) -> Format:
        """Return the format with another size."""
        height, width, channels = image_size(form)
        size = (*self._size, channels)
        check_row("x", size, np.dtype(np.float32))
        for have, want in ((height, self._size[0]), (width, self._size[1])):
            if have * want > MAX_WEIGHTS:
                raise TrainingError(
                    f"from {have} to {want} pixels in one step is too far; do it in two"
                )
        return replace(form, x=replace(form.x, size=size, dtype="float32"))


def _weights(have: int, want: int) -> NDArray[np.float32]:
    """Return the weight of each old pixel in each new one (triangle filter)."""
    scale = have / want
    reach = max(scale, 1.0)
    centres = (np.arange(want) + 0.5) * scale
    weights = np.arange(have) + 0.5 - centres[:, None]
    np.abs(weights, out=weights)
    np.maximum(0.0, 1.0 - weights / reach, out=weights)
    made: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return made


class Grayscale:
    """Convert red, green and blue to one channel."""

    def transform_data(self, batch: Batch, _rng: np.random.Generator) -> Batch:
        """x: (rows, height, width, 3); returns (rows, height, width, 1) float32."""
        x, y = batch
        return (np.asarray(x, np.float32) @ _GREY)[..., None], y

    def transform_format(self, form: Format) -> Format:
        """Return the format with one channel."""
        height, width, channels = image_size(form)
        if channels != _RGB:
            raise TrainingError(f"3 channels are taken, {form.x} has {channels}")
        return replace(form, x=replace(form.x, size=(height, width, 1), dtype="float32"))


def image_size(form: Format) -> tuple[int, int, int]:
    """Return an image's height, width and channels; raise TrainingError unless they are last."""
    _check_image(form)
    if form.x.axes == "channels-first":
        raise TrainingError(
            f"images (height, width, channels) are taken, not {form.x}; a step channels-last "
            "before this one turns them"
        )
    height, width, channels = form.x.size
    return height, width, channels


def _check_image(form: Format) -> None:
    if form.x.kind != "image" or len(form.x.size) != _RGB:
        raise TrainingError(f"images (height, width, channels) are taken, not {form.x}")


def _whole(name: str, given: Sequence[int], most: int, least: int = 1) -> tuple[int, ...]:
    listed = isinstance(given, list | tuple) and least <= len(given) <= most
    if not listed or not all(type(n) is int and 0 < n < 2**31 for n in given):
        count = f"{least}" if least == most else f"{least} to {most}"
        raise TrainingError(f"{name} is {given!r}: expected {count} whole numbers above 0")
    return tuple(given)
