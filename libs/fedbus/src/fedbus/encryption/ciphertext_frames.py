"""Frames of ciphertexts in a blob: each after its length, which has bounds. Pure."""

import struct
from collections.abc import Iterator
from typing import Final, TypeAlias, cast

from fedbus.encryption.parameters import EncryptionParameters
from fedbus.errors import EncryptionError
from fedbus.model.encodings import SizeBounds

Bytes: TypeAlias = bytes | bytearray | memoryview

LENGTH_BYTES: Final = 4
_LENGTH: Final = struct.Struct("<I")


def ciphertext_bounds(parameters: EncryptionParameters) -> SizeBounds:
    """Return the least and the most bytes of one ciphertext, of an update or of a sum.

    SEAL compresses polynomials with zstandard. Random coefficients do not become shorter than their
    bits, and bytes that cannot be compressed grow by less than 1/128.
    """
    sizes, degree = parameters.coeff_mod_bit_sizes[:-1], parameters.poly_modulus_degree
    least = degree * sum(size - 1 for size in sizes) // 8
    most = 2 * degree * len(sizes) * 8
    return SizeBounds(least, most + most // 128 + 1024)


def framed(ciphertext: bytes) -> bytes:
    """Return a ciphertext after its length."""
    return _LENGTH.pack(len(ciphertext)) + ciphertext


def length_in(raw: Bytes) -> int:
    """Return a ciphertext's length from its 4 bytes."""
    return cast("int", _LENGTH.unpack(raw)[0])


def ciphertexts_in(blob: Bytes, offset: int, count: int, bounds: SizeBounds) -> Iterator[bytes]:
    """Yield the ciphertexts of a blob.

    Raises:
        EncryptionError: One is cut off or has an impossible length, or bytes follow the last one.
    """
    view, at = memoryview(blob).cast("B"), offset
    for number in range(1, count + 1):
        begin = at + LENGTH_BYTES
        length = length_in(view[at:begin]) if begin <= len(view) else 0
        check_length(length, number, count, bounds)
        if begin + length > len(view):
            raise EncryptionError(f"ciphertext {number} of {count} is cut off")
        yield bytes(view[begin : begin + length])
        at = begin + length
    if at != len(view):
        raise EncryptionError(f"{len(view) - at} bytes follow the {count} ciphertexts")


def check_length(length: int, number: int, count: int, bounds: SizeBounds) -> None:
    """Raise EncryptionError unless a ciphertext can have this length."""
    if not bounds.least <= length <= bounds.most:
        raise EncryptionError(
            f"ciphertext {number} of {count} has {length} bytes; {bounds.text} are possible"
        )
