"""Packing loses no bit: sums of packed slots are the sums of the numbers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedbus.encryption.slot_packing import ciphertexts_for, pack, unpack
from fedbus.model.fixed_point import sum_bits


@given(data=st.data(), bits=st.integers(4, 16), fields=st.integers(1, 3))
def test_a_sum_of_packed_numbers_is_the_sum_of_the_numbers(
    data: st.DataObject, bits: int, fields: int
) -> None:
    """At the greatest number of each agent as well, which fills a field completely."""
    agents = data.draw(st.integers(1, 2 ** min(60 // fields - bits, 6)))
    numbers, width = data.draw(st.integers(1, 40)), sum_bits(bits, agents)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    wholes = rng.integers(0, 2**bits, (agents, numbers), endpoint=False).astype(np.uint64)
    if data.draw(st.booleans()):
        wholes[:] = 2**bits - 1
    packed = sum(pack(each, 8, fields, width) for each in wholes)
    assert isinstance(packed, np.ndarray)
    assert packed.shape == (ciphertexts_for(numbers, 8, fields), 8)
    assert (packed[:, 0] == agents).all()
    assert (unpack(packed, numbers, fields, width) == wholes.sum(axis=0)).all()


def test_ciphertexts_are_counted_without_the_canary() -> None:
    """One more number than fits needs one more ciphertext."""
    assert [ciphertexts_for(n, 8, 2) for n in (1, 14, 15, 28, 29)] == [1, 1, 2, 2, 3]
