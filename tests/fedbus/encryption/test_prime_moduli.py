"""Primes are those that SEAL takes, so that bounds on noise and numbers hold for its moduli."""

import math
from itertools import islice

import pytest

from fedbus.encryption.parameters import BFV_SIZES
from fedbus.encryption.prime_moduli import is_prime, least_product, primes_below


def test_small_numbers_are_judged_as_trial_division_judges_them() -> None:
    """All numbers below 3000, among them 0, 1 and the bases of the test themselves."""
    for number in range(3000):
        divisors = [d for d in range(1, number + 1) if number % d == 0]
        assert is_prime(number) == (len(divisors) == 2)


@pytest.mark.parametrize(
    "number", [561, 2047, 3215031751, 3825123056546413051, (2**31 - 1) ** 2, 2**59 - 1]
)
def test_numbers_that_deceive_a_weak_test_are_not_prime(number: int) -> None:
    """Carmichael numbers and strong pseudoprimes to the first nine bases."""
    assert not is_prime(number)


def test_large_primes_are_prime() -> None:
    """Mersenne primes, and the greatest prime below 2^64."""
    assert all(is_prime(number) for number in (2**31 - 1, 2**61 - 1, 2**64 - 59))


def test_primes_below_a_limit_leave_1_and_descend() -> None:
    """With p ≡ 1 mod 2N a plaintext has N slots."""
    found = list(islice(primes_below(2**40, 8192), 5))
    assert found == sorted(found, reverse=True)
    assert all(is_prime(p) and p % 8192 == 1 and p < 2**40 for p in found)
    assert list(primes_below(40, 8)) == [17]
    assert list(primes_below(17, 8)) == []


@pytest.mark.parametrize("sizes", [*BFV_SIZES, (36, 36), (30, 30, 30), (40, 20, 40)])
def test_the_least_product_is_not_above_that_of_seal(sizes: tuple[int, ...]) -> None:
    """Noise is compared with the modulus of a ciphertext, which SEAL chooses."""
    from tenseal import sealapi

    chosen = [each.value() for each in sealapi.CoeffModulus.Create(4096, list(sizes))]
    least, product = least_product(sizes, 4096), math.prod(chosen[:-1])
    assert least <= product
    assert least > product * 0.999


def test_a_size_without_enough_primes_is_refused() -> None:
    """There is one prime of 14 bits with p ≡ 1 mod 8192."""
    with pytest.raises(ValueError, match="too few primes of 14 bits for N = 4096"):
        least_product((14, 14, 14), 4096)
    with pytest.raises(ValueError, match="too few primes of 13 bits"):
        least_product((13, 20), 4096)
