"""Byte ranges of HTTP requests (RFC 9110, section 14). Pure."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

MAX_RANGE_HEADER_CHARACTERS: Final = 256
_ONE_RANGE = re.compile(r"bytes=\s*(\d{0,19})-(\d{0,19})\s*", re.ASCII)


class Selection(Enum):
    """What a request selects, if not one part: all bytes, or none that exist."""

    WHOLE = "whole"
    BEYOND = "beyond"


@dataclass(frozen=True, slots=True)
class BytePart:
    """The bytes from `start` up to `end`, which is the first one left out."""

    start: int
    end: int

    def content_range(self, size: int) -> str:
        """Format the header Content-Range."""
        return f"bytes {self.start}-{self.end - 1}/{size}"


def select_bytes(header: str | None, size: int) -> BytePart | Selection:
    """Return what a Range header selects of `size` bytes.

    A server may ignore ranges: several ranges in one header, other units than bytes and headers
    that cannot be read select the whole. A range that begins at or after the end, and an empty
    suffix, select nothing, which is answered with 416.
    """
    if header is None or len(header) > MAX_RANGE_HEADER_CHARACTERS:
        return Selection.WHOLE
    found = _ONE_RANGE.fullmatch(header.strip())
    if found is None or found.groups() == ("", ""):
        return Selection.WHOLE
    first, last = found.groups()
    if not first:  # the last bytes
        start, end = max(0, size - int(last)), size
        return BytePart(start, end) if start < end else Selection.BEYOND
    start = int(first)
    if last and int(last) < start:
        return Selection.WHOLE
    if start >= size:
        return Selection.BEYOND
    return BytePart(start, size if not last else min(size, int(last) + 1))


def range_applies(if_range: str | None, etag: str) -> bool:
    """Return whether the Range header counts: If-Range is missing, or names these bytes.

    A date and a weak tag never count (RFC 9110, section 13.1.5): then the whole is sent.
    """
    return if_range is None or if_range.strip() == etag


def names_etag(header: str | None, etag: str, *, weak: bool) -> bool:
    """Return whether a header names a strong tag, or is `*`.

    If-None-Match takes a `weak` tag for the strong one, If-Match does not (RFC 9110, section
    8.8.3).
    """
    if header is None:
        return False
    tags = [tag.strip().removeprefix("W/" if weak else "") for tag in header.split(",")]
    return "*" in tags or etag in tags
