"""Step `zstandard`: bytes as one frame of zstandard, of a size that its reader has bounded. Pure.

The package zstandard is imported when a job needs it. A writer needs at most 3 MiB beside the
frame, whatever the level: larger tables and windows gain at most 1 % on numbers of models, and an
agent on a small board would not have the memory. A reader needs the window, 8 MiB at most.
"""

import importlib
from typing import Any, Final

from fedbus.compression.body_bytes import BodyBytes
from fedbus.errors import LayoutError, PluginError
from fedbus.model.encodings import SizeBounds

GREATEST_LEVEL: Final = 19
"""Levels above are `ultra` in the words of zstandard: far slower for nearly the same bytes."""

_WINDOW_BYTES: Final = 2**23
_WRITER_BYTES: Final = 3 * 2**20
"""The most memory of a writer; level 3 needs 1.2 MiB, level 19 would need up to 81 MiB."""
_SMALL_SOURCE_BYTES: Final = 2**17
"""The parameters of any level for a source of this size need at most `_WRITER_BYTES`."""
_LEAST_BLOCK_BYTES: Final = 256
"""Writers make blocks of up to 128 KiB; a frame with more blocks than of this size is refused."""
_MORE_BLOCKS: Final = 64
_RUN_LENGTH: Final = 1
"""The kind of a block that is one byte, repeated."""
_CHECKSUM_BYTES: Final = 4


def check_zstandard() -> None:
    """Raise PluginError if the package is not installed."""
    _package()


def frame_bounds(body: SizeBounds) -> SizeBounds:
    """Return the sizes of frames whose content has these sizes."""
    return SizeBounds(1, body.most + body.most // 256 + 1024)


def writer_parameters(level: int, size: int) -> Any:  # noqa: ANN401 - of the package
    """Return the parameters of a level for `size` bytes, within the memory of a writer."""
    chosen = _package().ZstdCompressionParameters
    made = chosen.from_level(level, source_size=size)
    if made.estimated_compression_context_size() > _WRITER_BYTES:
        made = chosen.from_level(level, source_size=min(size, _SMALL_SOURCE_BYTES))
    return made


def write_frame(body: bytes | bytearray, level: int) -> bytes:
    """Return a frame; its header has the size of its content."""
    parameters = writer_parameters(level, len(body))
    made: bytes = _package().ZstdCompressor(compression_params=parameters).compress(body)
    return made


def open_frame(frame: memoryview, content: SizeBounds) -> BodyBytes:
    """Return the content of a frame, of a size within bounds, to be read in blocks.

    The size in the frame's header is compared with the bounds before anything is unpacked.

    Raises:
        LayoutError: It is no frame, one of another size, or does not end with the last byte. So do
            `read` and `end`, if the content is damaged, or is not as long as the header says.
    """
    package = _package()
    try:
        header = package.get_frame_parameters(frame)
        offset = package.frame_header_size(frame)
    except package.ZstdError as error:
        raise _no_frame(error) from error
    size = header.content_size
    if not content.least <= size <= content.most:
        raise LayoutError(
            f"a zstandard frame of {size} bytes; expected {content.text} in its header"
        )
    _check_end(frame, offset, size, _CHECKSUM_BYTES if header.has_checksum else 0)
    reader = package.ZstdDecompressor(max_window_size=_WINDOW_BYTES).stream_reader(frame)

    def read(count: int) -> bytes:
        try:
            made: bytes = reader.read(count) if count else b""
        except package.ZstdError as error:
            raise _no_frame(error) from error
        if len(made) != count:
            raise _no_frame("it has less content than its header says")
        return made

    def end() -> None:
        try:
            more = reader.read(1)
        except package.ZstdError as error:
            raise _no_frame(error) from error
        if more:
            raise _no_frame("it has more content than its header says")

    return BodyBytes(read, size, end)


def _check_end(frame: memoryview, offset: int, content: int, checksum: int) -> None:
    """Raise LayoutError unless the blocks of a frame end with its last byte (RFC 8878, 3.1.1)."""
    for _ in range(content // _LEAST_BLOCK_BYTES + _MORE_BLOCKS):
        head = int.from_bytes(frame[offset : offset + 3], "little")
        last, kind, size = head & 1, head >> 1 & 3, head >> 3
        offset += 3 + (1 if kind == _RUN_LENGTH else size)
        if offset > len(frame):
            break
        if last:
            if offset + checksum == len(frame):
                return
            break
    raise _no_frame("its blocks do not end with its last byte")


def _no_frame(why: object) -> LayoutError:
    return LayoutError(f"bytes that are no zstandard frame: {why}")


def _package() -> Any:  # noqa: ANN401 - a module
    try:
        return importlib.import_module("zstandard")
    except ImportError as error:
        raise PluginError(
            "the compression step zstandard needs the package of the same name; install "
            "fedbus[compression]"
        ) from error
