"""Masks: streams of random whole numbers modulo 2^m, from seeds of 32 bytes. Pure.

A stream is AES-256 in counter mode from block 0, read as unsigned little-endian numbers of 4 bytes
(m up to 32) or 8 bytes, of which the lowest m bits count. Sums are computed modulo 2^32 or 2^64,
and reduced at the end. A seed has one use, so each key has one stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.unsignedinteger[Any]]
"""Shape (numbers,): numbers modulo 2^m, of the type `word_type(m)`."""

BLOCK_NUMBERS: Final = 2**16
"""Numbers that are masked and packed at a time: they stay in the processor's cache."""
MAX_MODULUS_BITS: Final = 64
_HALF_WORD_BITS: Final = 32
_AES_BYTES: Final = 16
_ZEROS: Final = bytes(8 * BLOCK_NUMBERS)


@dataclass(frozen=True, slots=True)
class Mask:
    """A stream that is added to numbers (`sign` 1) or subtracted from them (-1)."""

    seed: bytes = field(repr=False)
    sign: int


def word_type(modulus_bits: int) -> "np.dtype[np.unsignedinteger[Any]]":
    """Return the type of numbers modulo 2^m while they are added."""
    return np.dtype("<u4") if modulus_bits <= _HALF_WORD_BITS else np.dtype("<u8")


def apply_masks(numbers: Words, masks: Sequence[Mask], start: int) -> None:
    """Add masks to numbers in place, modulo 2^32 or 2^64 as their type has it.

    Args:
        numbers: Numbers `start` and following of an update or a sum.
        masks: What to add or subtract.
        start: A multiple of `BLOCK_NUMBERS`.
    """
    if start % BLOCK_NUMBERS:
        raise ValueError(f"masks start at a multiple of {BLOCK_NUMBERS}, not at {start}")
    for place in range(0, len(numbers), BLOCK_NUMBERS):
        _apply_to_block(numbers[place : place + BLOCK_NUMBERS], masks, start + place)


def reduce_words(numbers: Words, modulus_bits: int) -> None:
    """Reduce numbers modulo 2^m in place."""
    numbers &= numbers.dtype.type((1 << modulus_bits) - 1)


def _apply_to_block(block: Words, masks: Sequence[Mask], start: int) -> None:
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CTR

    counter = (start * block.itemsize // _AES_BYTES).to_bytes(_AES_BYTES, "big")
    # Older versions of cryptography ask for room for one block more.
    stream = bytearray(block.nbytes + _AES_BYTES - 1)
    zeros = memoryview(_ZEROS)[: block.nbytes]
    drawn = np.frombuffer(stream, block.dtype, len(block))
    for mask in masks:
        Cipher(AES(mask.seed), CTR(counter)).encryptor().update_into(zeros, stream)
        (np.add if mask.sign > 0 else np.subtract)(block, drawn, out=block)
