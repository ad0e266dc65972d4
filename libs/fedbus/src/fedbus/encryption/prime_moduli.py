"""Prime moduli for homomorphic encryption: primes p with p ≡ 1 mod 2N. Pure."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

_WITNESSES: Final = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
"""With these bases the Miller-Rabin test decides every number below 2^64 (Sorenson, Webster)."""


def is_prime(number: int) -> bool:
    """Return whether a number below 2^64 is prime."""
    if number < 2:  # noqa: PLR2004 - the first prime
        return False
    for witness in _WITNESSES:
        if number % witness == 0:
            return number == witness
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(_passes(number, witness, odd, twos) for witness in _WITNESSES)


def primes_below(limit: int, step: int) -> Iterator[int]:
    """Yield the primes p < `limit` with p ≡ 1 mod `step`, the greatest first."""
    for candidate in range((limit - 2) // step * step + 1, 1, -step):
        if is_prime(candidate):
            yield candidate


def least_product(bit_sizes: tuple[int, ...], degree: int) -> int:
    """Return a number that the product of a ciphertext's primes is not below.

    Microsoft SEAL takes, for each size in bits, the greatest primes p ≡ 1 mod 2N of that size;
    those of one size may be in any order.

    Args:
        bit_sizes: The sizes of all primes; the last one is not in ciphertexts.
        degree: Degree of the polynomials, N.

    Raises:
        ValueError: There are not enough primes of a size.
    """
    product = 1
    for size in bit_sizes[:-1]:
        primes = list(islice(primes_below(1 << size, 2 * degree), bit_sizes.count(size)))
        if len(primes) < bit_sizes.count(size) or primes[-1] < 1 << (size - 1):
            raise ValueError(f"there are too few primes of {size} bits for N = {degree}")
        product *= primes[-1]
    return product


def _passes(number: int, witness: int, odd: int, twos: int) -> bool:
    power = pow(witness, odd, number)
    if power in {1, number - 1}:
        return True
    for _ in range(twos - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False
