"""Blob of encrypted numbers: its header, the framing of its ciphertexts, its bounds. Pure.

    offset  bytes
    0       4      magic, b"FBW1"
    4       4      length of the map, unsigned, little-endian
    8       n      msgpack map {"encoding": "encrypted", "layout": …, "encryption": {…}}
    …       0-63   zeros, until the offset is a multiple of 64
    then, for each ciphertext:
    0       4      its length, unsigned, little-endian
    4       n      a TenSEAL vector with one ciphertext

An update and the sum of updates have the same form. A ciphertext of an update is half as long: one
of its two polynomials is random, and is sent as the seed that it was drawn from.
"""

import struct
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final, cast

import msgpack

from fedbus.encryption.ciphertext_frames import LENGTH_BYTES, Bytes, ciphertext_bounds
from fedbus.encryption.encrypted_header import ENCODING, EncryptedHeader, header_in
from fedbus.encryption.encryption_terms import parameters_of
from fedbus.encryption.slot_packing import ciphertexts_for
from fedbus.errors import EncryptionError
from fedbus.model.blob_header import MAGIC
from fedbus.model.encodings import SizeBounds
from fedbus.model.fixed_point import fixed_point_tensors
from fedbus.model.layout import Layout
from fedbus.wire.encryption import EncryptionTerms

__all__ = [
    "MAX_ENCRYPTED_HEADER_BYTES",
    "EncryptedHeader",
    "encrypted_bounds",
    "encrypted_header_bytes",
    "planned_header",
    "read_encrypted_header",
]

MAX_ENCRYPTED_HEADER_BYTES: Final = 8192
"""The first bytes of an encrypted blob, which contain its whole header."""
_FIXED: Final = struct.Struct("<4sI")
_ALIGNMENT_BYTES: Final = 64


def planned_header(
    terms: EncryptionTerms, layout: Layout, *, anchor: str, ranges: Sequence[int], max_examples: int
) -> EncryptedHeader:
    """Return the header that the updates of a round have, except for `count` and `weight`.

    Args:
        terms: The job's.
        layout: The model's.
        anchor: The digest of the anchor's weights.
        ranges: The plan's.
        max_examples: The plan's.

    Raises:
        EncryptionError: There is not one range for each shared tensor.
        LayoutError: A shared tensor has whole numbers or flags.
    """
    tensors = fixed_point_tensors(layout)
    if len(ranges) != len(tensors):
        raise EncryptionError(f"{len(ranges)} ranges for {len(tensors)} shared tensors")
    return EncryptedHeader(
        layout=layout.digest,
        scheme=terms.scheme,
        key=terms.key,
        parameters=terms.parameters,
        anchor=anchor,
        ranges=tuple(ranges),
        bits=terms.fixed_point.bits,
        agents=terms.fixed_point.max_agents,
        fields=terms.fields,
        max_examples=max_examples,
        ciphertexts=_ciphertexts(terms, layout),
    )


def encrypted_header_bytes(header: EncryptedHeader) -> bytes:
    """Return the header as bytes, padding included."""
    encryption: dict[str, Any] = asdict(header)
    encryption["ranges"] = struct.pack(f"{len(header.ranges)}b", *header.ranges)
    digest = encryption.pop("layout")
    fields: bytes = msgpack.packb(
        {"encoding": ENCODING, "layout": digest, "encryption": encryption}
    )
    head = _FIXED.pack(MAGIC, len(fields)) + fields
    return head + bytes(-len(head) % _ALIGNMENT_BYTES)


def read_encrypted_header(
    prefix: Bytes, size: int | None = None, layout: Layout | None = None
) -> tuple[EncryptedHeader, int]:
    """Read a header from an encrypted blob or from its first `MAX_ENCRYPTED_HEADER_BYTES` bytes.

    Args:
        prefix: The beginning of the blob.
        size: The size of the whole blob, if it is to be checked.
        layout: The model's layout, if it is to be checked.

    Returns:
        The header, and the offset in bytes at which the ciphertexts begin.

    Raises:
        EncryptionError: The bytes do not begin with a valid header, or it contradicts the size or
            the layout.
    """
    start = bytes(memoryview(prefix).cast("B")[:MAX_ENCRYPTED_HEADER_BYTES])
    if len(start) < _FIXED.size or not start.startswith(MAGIC):
        raise EncryptionError(f"not an encrypted blob: it begins with {start[:4]!r}, not {MAGIC!r}")
    end = _FIXED.size + _FIXED.unpack_from(start)[1]
    offset = end + -end % _ALIGNMENT_BYTES
    if offset > len(start):
        raise EncryptionError(f"an encrypted blob whose header ends after byte {len(start)}")
    if any(start[end:offset]):
        raise EncryptionError("an encrypted blob with bytes between its header and its ciphertexts")
    header = header_in(_unpacked(start[_FIXED.size : end]))
    if layout is not None:
        _check_layout(header, layout)
    if size is not None and size < offset + header.ciphertexts * LENGTH_BYTES:
        raise EncryptionError(
            f"an encrypted blob of {size} bytes, too few for {header.ciphertexts} ciphertexts"
        )
    return header, offset


def encrypted_bounds(terms: EncryptionTerms, layout: Layout) -> SizeBounds:
    """Return the least and the most bytes of an encrypted blob: an update or a version."""
    one, count = ciphertext_bounds(parameters_of(terms)), _ciphertexts(terms, layout)
    return SizeBounds(
        count * (LENGTH_BYTES + one.least),
        MAX_ENCRYPTED_HEADER_BYTES + count * (LENGTH_BYTES + one.most),
    )


def _ciphertexts(terms: EncryptionTerms, layout: Layout) -> int:
    numbers = sum(tensor.numbers for tensor in layout.shared)
    slots = terms.poly_modulus_degree // (1 if terms.scheme == "bfv" else 2)
    return ciphertexts_for(numbers, slots, terms.fields)


def _check_layout(header: EncryptedHeader, layout: Layout) -> None:
    if header.layout != layout.digest:
        raise EncryptionError(
            f"an encrypted blob of layout {header.layout[:12]}, where the model's is "
            f"{layout.digest[:12]}"
        )
    tensors = fixed_point_tensors(layout)
    if len(header.ranges) != len(tensors):
        raise EncryptionError(f"{len(header.ranges)} ranges for {len(tensors)} shared tensors")


def _unpacked(raw: bytes) -> object:
    try:
        return cast("object", msgpack.unpackb(raw))
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise EncryptionError(f"an encrypted blob whose header is not msgpack: {error}") from error
