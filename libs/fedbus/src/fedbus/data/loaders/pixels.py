"""Pixels of an opened image as numbers from 0 to 255: depth, transparency, orientation, colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import TrainingError
from fedbus.number_text import format_against
from fedbus.text import listed

CHANNELS: Final = {"grey": ("L", 1), "rgb": ("RGB", 3)}
Background = Literal["ignore"] | int | Sequence[int] | None
_PLAIN: Final = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"})
"""Modes of 8 bits or fewer that Pillow converts to grey and to colour."""
_CLEAR: Final = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
_SIXTEEN: Final = 65535
_OF_SIXTEEN: Final = frozenset({"PNG", "PPM"})
"""Formats whose images of mode I have 16 bits."""
_SEVERAL_OF_ONE: Final = frozenset({"MPO"})
"""Formats whose first image is the main one; the others are previews and maps."""
_ORIENTATION: Final = 0x0112
_TURNED: Final = frozenset({5, 6, 7, 8})
_WHITE: Final = 255
_RGB: Final = 3


@dataclass(frozen=True, slots=True)
class PixelReader:
    """Conversion of all images of a data set to numbers.

    Attributes:
        mode: Pillow mode to which images of 8 bits are converted.
        channels: Number of channels of the mode.
        span: The values that become 0 and 255 in images of more than 8 bits.
        background: Colour behind transparent pixels; "ignore": they are taken as opaque.
        frame: Number of the image in a file with several.
    """

    mode: str
    channels: int
    span: tuple[float, float] | None
    background: Literal["ignore"] | tuple[int, int, int] | None
    frame: int | None

    def size(self, image: Any) -> tuple[int, int]:  # noqa: ANN401 - Pillow's are untyped here
        """Return height and width after the rotation that the EXIF data state."""
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION) in _TURNED
        return (width, height) if turned else (height, width)

    def pixels(self, name: str, image: Any, size: tuple[int, int] | None) -> NDArray[np.float32]:  # noqa: ANN401 - as above
        """Decode an image: (height, width, channels), 0 to 255, resized to `size`.

        Raises:
            TrainingError: its depth, transparency or frames need an option.
        """
        from PIL import ImageOps  # noqa: PLC0415 - only where images are read

        sixteen = image.mode.startswith("I;16") or image.format in _OF_SIXTEEN
        image = ImageOps.exif_transpose(self._one_of(name, image))
        deep = image.mode == "F" or image.mode.startswith("I")
        scaled = self._scaled(name, image, sixteen=sixteen) if deep else None
        plain = self._converted(name, image) if scaled is None else scaled
        framed = plain if size is None else plain.resize(size[::-1])
        made = np.asarray(framed, np.float32)
        if deep:
            made = np.clip(np.repeat(made[..., None], self.channels, axis=2), 0, _WHITE)
        return made.reshape(*made.shape[:2], self.channels)

    def _one_of(self, name: str, image: Any) -> Any:  # noqa: ANN401 - as above
        frames = getattr(image, "is_animated", False) and image.format not in _SEVERAL_OF_ONE
        if not frames:
            return image
        if self.frame is None:
            raise TrainingError(
                f'{name}: {image.n_frames} pictures in one file; set "frame": 0 to take the first '
                "of each file"
            )
        if self.frame >= image.n_frames:
            raise TrainingError(f"{name}: {image.n_frames} pictures, and frame is {self.frame}")
        image.seek(self.frame)
        return image

    def _scaled(self, name: str, image: Any, *, sixteen: bool) -> Any:  # noqa: ANN401 - as above
        """Scale an image of more than 8 bits to 0 to 255, with fractions."""
        from PIL import Image  # noqa: PLC0415 - only where images are read

        numbers = np.asarray(image, np.float64)
        low, high = self.span or (0.0, float(_SIXTEEN))
        if self.span is None and (image.mode == "F" or not sixteen):
            found = f"{np.nanmin(numbers):g} to {np.nanmax(numbers):g}"
            bits = "floating-point" if image.mode == "F" else "32-bit"
            raise TrainingError(
                f"{name}: {bits} pixels ({found}) of which no range is known; set "
                '"range": [LOW, HIGH], which become 0 and 255, alike on all agents'
            )
        if not np.isfinite(numbers).all() or numbers.min() < low or numbers.max() > high:
            found = f"{format_against(numbers.min(), low)} to {format_against(numbers.max(), high)}"
            raise TrainingError(f"{name}: pixels of {found}, beyond the range {low:g} to {high:g}")
        return Image.fromarray(((numbers - low) / (high - low) * _WHITE).astype(np.float32))

    def _converted(self, name: str, image: Any) -> Any:  # noqa: ANN401 - as above
        if image.mode in _CLEAR or "transparency" in image.info:
            image = self._opaque(name, image.convert("RGBA"))
        elif image.mode not in _PLAIN:
            raise TrainingError(
                f"{name}: pixels of mode {image.mode}, which has no meaning here; convert the "
                f"picture to RGB or grey (read are {listed([*_PLAIN, *_CLEAR, 'I;16', 'I', 'F'])})"
            )
        return image.convert(self.mode)

    def _opaque(self, name: str, image: Any) -> Any:  # noqa: ANN401 - as above
        """Compose a transparent image with the background."""
        from PIL import Image  # noqa: PLC0415 - only where images are read

        if image.getextrema()[3][0] == _WHITE or self.background == "ignore":
            return image.convert("RGB")
        if self.background is None:
            raise TrainingError(
                f'{name}: transparent pixels; set "background" to the grey (0 to 255) or '
                '[red, green, blue] that lies behind them, or to "ignore" to use the colours '
                "stored under them"
            )
        behind = Image.new("RGBA", image.size, (*self.background, _WHITE))
        return Image.alpha_composite(behind, image).convert("RGB")


def pixel_reader(
    colour: str, span: Sequence[float] | None, background: Background, frame: int | None
) -> PixelReader:
    """Make the reader from the options of `images`; raise TrainingError for unknown values."""
    if colour not in CHANNELS:
        raise TrainingError(f"colour is {colour!r}: expected {listed(CHANNELS)}")
    if frame is not None and (type(frame) is not int or frame < 0):
        raise TrainingError(f"frame is {frame!r}: expected a whole number from 0")
    mode, channels = CHANNELS[colour]
    return PixelReader(mode, channels, _span(span), _background(background), frame)


def _span(span: object) -> tuple[float, float] | None:
    match span:
        case None:
            return None
        case [int() | float() as low, int() | float() as high] if -np.inf < low < high < np.inf:
            return float(low), float(high)
        case _:
            raise TrainingError(f"range is {span!r}: expected [low, high] with low below high")


def _background(given: object) -> Literal["ignore"] | tuple[int, int, int] | None:
    match given:
        case None | "ignore":
            return given
        case int(grey) if 0 <= grey <= _WHITE and not isinstance(given, bool):
            return grey, grey, grey
        case [int(red), int(green), int(blue)] if all(
            0 <= part <= _WHITE for part in (red, green, blue)
        ):
            return red, green, blue
        case _:
            raise TrainingError(
                f"background is {given!r}: expected a grey from 0 to 255, [red, green, blue], or "
                '"ignore"'
            )
