"""Masks: what a seed gives, and what a masked update tells."""

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from fedbus.secure_aggregation.mask_streams import (
    BLOCK_NUMBERS,
    Mask,
    apply_masks,
    reduce_words,
    word_type,
)
from fedbus.secure_aggregation.masked_task import MaskedTask
from tests.fedbus.secure_aggregation.masked_agents import Federation, terms

SEED = bytes(range(32))


@pytest.mark.parametrize("bits", [19, 32, 33, 64])
def test_a_mask_and_its_opposite_cancel_out(bits: int) -> None:
    """Modulo 2^m, for both word types."""
    numbers = np.arange(BLOCK_NUMBERS + 100).astype(word_type(bits))
    before = numbers.copy()
    apply_masks(numbers, [Mask(SEED, 1)], 0)
    assert np.count_nonzero(numbers == before) < 10
    apply_masks(numbers, [Mask(SEED, -1)], 0)
    reduce_words(numbers, bits)
    assert np.array_equal(numbers, before)


def test_a_stream_is_aes_in_counter_mode_from_block_0() -> None:
    """NIST SP 800-38A has no vector from block 0; FIPS 197, C.3, is the cipher's."""
    key = bytes.fromhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
    plain = 0x00112233445566778899AABBCCDDEEFF
    start = 4 * BLOCK_NUMBERS
    numbers = np.zeros(8, np.uint32)
    apply_masks(numbers, [Mask(key, 1)], start)
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import ECB

    cipher = Cipher(AES(key), ECB()).encryptor()  # noqa: S305 - what counter mode is made of
    assert cipher.update(plain.to_bytes(16, "big")).hex() == "8ea2b7ca516745bfeafc49904b496089"
    counters = (BLOCK_NUMBERS + at for at in range(2))
    expected = b"".join(cipher.update(counter.to_bytes(16, "big")) for counter in counters)
    assert numbers.tobytes() == expected


def test_blocks_give_what_the_whole_gives() -> None:
    """A collector takes the masks from a sum block by block."""
    masks = [Mask(SEED, 1), Mask(SEED[::-1], -1)]
    whole = np.zeros(3 * BLOCK_NUMBERS + 5, np.uint32)
    apply_masks(whole, masks, 0)
    parts = np.zeros_like(whole)
    for start in (0, 2 * BLOCK_NUMBERS):
        apply_masks(parts[start : start + 2 * BLOCK_NUMBERS], masks, start)
    assert np.array_equal(parts, whole)


def test_a_position_inside_a_block_is_an_error_of_the_caller() -> None:
    """The stream could not continue there."""
    with pytest.raises(ValueError, match="not at 4"):
        apply_masks(np.zeros(3, np.uint32), [], 4)


def test_a_seed_is_in_no_log() -> None:
    """A mask's `repr` has its sign alone."""
    assert repr(Mask(SEED, -1)) == "Mask(sign=-1)"


def masked_update(task: MaskedTask, numbers: int = 200_000) -> Federation:
    """Return a round that ended before unmasking, with updates of zeros."""
    federation = Federation(3, numbers=numbers, terms=terms(2), task=task)
    for update in federation.updates.values():
        update[:] = 0
    for _ in range(3):
        federation.run_step()
    return federation


def test_a_masked_update_looks_like_chance() -> None:
    """Its numbers and each of their bits are uniform, and do not follow those of another agent."""
    federation = masked_update(MaskedTask(job="digits", round=1, task=1))
    bits = federation.header.modulus_bits
    opened = {name: federation.opened(name) for name in federation.names}
    for numbers in opened.values():
        assert kstest(numbers / 2**bits, "uniform").pvalue > 1e-6
        for bit in range(bits):
            ones = int(np.count_nonzero(numbers >> np.uint32(bit) & np.uint32(1)))
            assert chisquare([ones, len(numbers) - ones]).pvalue > 1e-6
        counts = np.bincount(numbers & np.uint32(255), minlength=256)
        assert chisquare(counts).pvalue > 1e-6
        serial = np.corrcoef(numbers[:-1], numbers[1:])[0, 1]
        assert abs(serial) < 0.02
    first, second, _ = opened.values()
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02


@pytest.mark.parametrize(
    "other",
    [
        MaskedTask(job="digits", round=1, task=2),
        MaskedTask(job="digits", round=2, task=1),
        MaskedTask(job="others", round=1, task=1),
    ],
)
def test_masks_do_not_repeat_for_another_task(other: MaskedTask) -> None:
    """Even if an agent drew the same secrets again: the task is in each derivation."""
    first = masked_update(MaskedTask(job="digits", round=1, task=1), 1000)
    second = masked_update(other, 1000)
    for name in first.names:
        same = np.count_nonzero(first.opened(name) == second.opened(name))
        assert same < 10
