"""Step `zstandard`: bytes as one frame of zstandard, of a size that its reader has bounded. Pure.

The package zstandard is imported when a job needs it.
"""

import importlib
from typing import Any, Final

from fedbus.errors import LayoutError, PluginError
from fedbus.model.encodings import SizeBounds

GREATEST_LEVEL: Final = 19
"""Levels above need more memory to read than `_WINDOW_BYTES`."""

_WINDOW_BYTES: Final = 2**23


def check_zstandard() -> None:
    """Raise PluginError if the package is not installed."""
    _package()


def frame_bounds(body: SizeBounds) -> SizeBounds:
    """Return the sizes of frames whose content has these sizes."""
    return SizeBounds(1, body.most + body.most // 256 + 1024)


def write_frame(body: bytes | bytearray, level: int) -> bytes:
    """Return a frame; its header has the size of its content."""
    made: bytes = _package().ZstdCompressor(level=level).compress(body)
    return made


def read_frame(frame: memoryview, content: SizeBounds) -> bytes:
    """Return the content of a frame, of a size within bounds.

    The size in the frame's header is compared with the bounds before anything is allocated, and the
    library stops at it.

    Raises:
        LayoutError: It is no frame, one of another size, or there are bytes before or after it.
    """
    package = _package()
    try:
        size = package.get_frame_parameters(frame).content_size
        if not content.least <= size <= content.most:
            raise LayoutError(
                f"a zstandard frame of {size} bytes; expected {content.text} in its header"
            )
        reader = package.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
        made: bytes = reader.decompress(frame, allow_extra_data=False)
    except package.ZstdError as error:
        raise LayoutError(f"bytes that are no zstandard frame: {error}") from error
    return made


def _package() -> Any:  # noqa: ANN401 - a module
    try:
        return importlib.import_module("zstandard")
    except ImportError as error:
        raise PluginError(
            "the compression step zstandard needs the package of the same name; install "
            "fedbus[compression]"
        ) from error
