"""Encodings: the ways in which a blob holds a model's numbers, by name. Pure.

A new one is a module here and an entry in `ENCODINGS`. What receives a blob asks its encoding for
the sizes that are possible, before it allocates or fetches anything.
"""

from collections.abc import Mapping
from typing import Final

from fedbus.errors import LayoutError
from fedbus.model.encodings.blob_encoding import BlobEncoding, SizeBounds
from fedbus.model.encodings.delta import Delta
from fedbus.model.encodings.plain import Plain
from fedbus.text import listed

ENCODINGS: Final[Mapping[str, BlobEncoding]] = {each.name: each for each in (Plain(), Delta())}

__all__ = ["ENCODINGS", "BlobEncoding", "SizeBounds", "encoding_named"]


def encoding_named(name: str) -> BlobEncoding:
    """Return the encoding of a name; raise LayoutError if there is none."""
    encoding = ENCODINGS.get(name)
    if encoding is None:
        raise LayoutError(f"a blob encoded as {name[:40]!r}; {listed(ENCODINGS)}")
    return encoding
