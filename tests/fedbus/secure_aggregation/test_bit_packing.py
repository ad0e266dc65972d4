"""Packed numbers: size, form and way back."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.errors import LayoutError
from fedbus.secure_aggregation.bit_packing import (
    pack_block,
    packed_size,
    unpack_block,
    unpack_blocks,
)
from fedbus.secure_aggregation.mask_streams import BLOCK_NUMBERS, Words, word_type


def packed(numbers: Words, bits: int) -> bytearray:
    """Return one packed block."""
    out = bytearray(packed_size(len(numbers), bits))
    assert pack_block(numbers, bits, memoryview(out)) == len(out)
    return out


def slowly_packed(numbers: list[int], bits: int) -> bytes:
    """Return one packed block as the module's docstring describes it, bit by bit."""
    columns = -(-len(numbers) // 64)
    rows = [*numbers, *[0] * (64 * columns - len(numbers))]
    words = [[0] * columns for _ in range(bits)]
    for column in range(columns):
        for row in range(64):
            number = rows[row * columns + column]
            for bit in range(bits):
                word, place = divmod(row * bits + bit, 64)
                words[word][column] |= (number >> bit & 1) << place
    return b"".join(word.to_bytes(8, "little") for row in words for word in row)


@given(st.integers(1, 64), st.integers(1, 200), st.randoms(use_true_random=False))
def test_numbers_are_packed_as_described_and_come_back(
    bits: int, count: int, drawn: random.Random
) -> None:
    """With each number of bits, and each number of numbers."""
    numbers = [drawn.getrandbits(bits) for _ in range(count)]
    block = packed(np.array(numbers, word_type(bits)), bits)
    assert block == slowly_packed(numbers, bits)
    unpacked = unpack_block(block, count, bits)
    assert unpacked.tolist() == numbers
    assert unpacked.dtype == word_type(bits)


@pytest.mark.parametrize("bits", [13, 23, 34])
def test_blocks_come_back_in_order(bits: int) -> None:
    """A long update is read block by block."""
    rng = np.random.default_rng(bits)
    count = 2 * BLOCK_NUMBERS + 100
    numbers = rng.integers(0, 2**bits, count, np.uint64).astype(word_type(bits))
    data = bytearray(b"head")
    for start in range(0, count, BLOCK_NUMBERS):
        data += packed(numbers[start : start + BLOCK_NUMBERS], bits)
    assert len(data) == 4 + packed_size(count, bits)
    blocks = list(unpack_blocks(lambda at, size: data[at : at + size], 4, count, bits))
    assert [len(block) for block in blocks] == [BLOCK_NUMBERS, BLOCK_NUMBERS, 100]
    assert np.array_equal(np.concatenate(blocks), numbers)


def test_sixteen_bits_of_a_hundred_agents_take_less_than_three_bytes() -> None:
    """23 bits a number, and nothing else."""
    assert packed_size(1_000_000, 23) == 2_875_000


def test_what_fills_a_block_up_is_zero() -> None:
    """Each update has one form in bytes."""
    block = packed(np.array([1, 2, 3], np.uint32), 20)
    block[-1] |= 128
    with pytest.raises(LayoutError, match="end with zeros after number 3"):
        unpack_block(block, 3, 20)
