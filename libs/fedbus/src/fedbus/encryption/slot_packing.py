"""Packing of fixed-point numbers into the slots of ciphertexts. Pure.

Slot 0 of every ciphertext is its canary: 1 from each agent, so a sum that was decrypted with the
right key has the number of agents there. With BFV every other slot holds several numbers side by
side, each in a field as wide as the sum of all agents needs.
"""

import numpy as np
from numpy.typing import NDArray

from fedbus.model.fixed_point import Wholes

Slots = NDArray[np.int64]
"""Shape (ciphertexts, slots)."""


def ciphertexts_for(numbers: int, slots: int, fields: int) -> int:
    """Return the ciphertexts that hold this many numbers."""
    return -(-numbers // ((slots - 1) * fields))


def pack(wholes: Wholes, slots: int, fields: int, width: int) -> Slots:
    """Return the slots of all ciphertexts, with the canary 1; unused slots are 0.

    Field i of slot s (from 1) of a ciphertext is number i · (slots - 1) + s - 1 of that ciphertext.
    """
    count = ciphertexts_for(wholes.size, slots, fields)
    padded = np.zeros((count, fields, slots - 1), np.int64)
    padded.reshape(-1)[: wholes.size] = wholes
    packed = np.zeros((count, slots), np.int64)
    packed[:, 0] = 1
    for field in range(fields):
        packed[:, 1:] |= padded[:, field] << (width * field)
    return packed


def unpack(packed: Slots, numbers: int, fields: int, width: int) -> Wholes:
    """Return the numbers of slots, without the canaries."""
    count, slots = packed.shape
    wholes = np.empty((count, fields, slots - 1), np.uint64)
    mask = (1 << width) - 1
    for field in range(fields):
        wholes[:, field] = (packed[:, 1:] >> (width * field)) & mask
    return wholes.reshape(-1)[:numbers]
