"""Shamir's secret sharing of 32 bytes over a prime field (Shamir 1979). Pure.

A polynomial of degree `least` - 1 with random coefficients has the secret at 0; share number x is
its value at x. `least` shares determine it, and fewer say nothing about it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from fedbus.errors import MaskingError

RandomBytes = Callable[[int], bytes]
"""Returns as many bytes as it is asked for: `os.urandom` outside tests."""

PRIME: Final = 2**256 + 297
"""The least prime above 2^256, so that each secret of 32 bytes is an element."""
SECRET_BYTES: Final = 32
SHARE_BYTES: Final = 33
_SPARE_BYTES: Final = 16
"""Random bytes beyond an element's: their remainder is even to within 2^-127."""


def split(secret: bytes, least: int, count: int, random_bytes: RandomBytes) -> tuple[bytes, ...]:
    """Return shares 1 to `count` of a secret; `least` of them are needed to join it."""
    if len(secret) != SECRET_BYTES or not 1 <= least <= count:
        raise ValueError(f"{len(secret)} bytes in {count} shares of which {least} are needed")
    coefficients = [_element(random_bytes) for _ in range(least - 1)]
    polynomial = [*coefficients, int.from_bytes(secret, "big")]
    return tuple(_to_bytes(_value(polynomial, x)) for x in range(1, count + 1))


def check_share(share: bytes) -> None:
    """Raise MaskingError unless these bytes are an element of the field."""
    if len(share) != SHARE_BYTES or int.from_bytes(share, "big") >= PRIME:
        raise MaskingError(f"{len(share)} bytes that are no share")


def value_at(shares: Mapping[int, bytes], x: int) -> int:
    """Return the value at x of the polynomial through some shares, given by their numbers."""
    places = tuple(shares)
    factors = _factors(places, x)
    values = (int.from_bytes(shares[place], "big") for place in places)
    return sum(f * value for f, value in zip(factors, values, strict=True)) % PRIME


def join(
    shares: Mapping[int, bytes], least: int, is_right: Callable[[bytes], bool]
) -> tuple[bytes, tuple[int, ...]]:
    """Return the secret of some shares, and the numbers of those that are wrong.

    With shares to spare, runs of `least` of them are tried until one gives the right secret: one
    wrong share is found if there are `least` + 1.

    Args:
        shares: Shares by their numbers.
        least: Shares that are needed.
        is_right: Whether a secret is the one that was shared.

    Raises:
        MaskingError: There are too few shares, or they do not give the secret.
    """
    if len(shares) < least:
        raise MaskingError(f"{len(shares)} of the {least} shares that are needed")
    places = sorted(shares)
    for first in range(len(places) if len(places) > least else 1):
        run = [places[(first + n) % len(places)] for n in range(least)]
        chosen = {place: shares[place] for place in sorted(run)}
        value = value_at(chosen, 0)
        if value < 1 << 8 * SECRET_BYTES and is_right(
            secret := value.to_bytes(SECRET_BYTES, "big")
        ):
            others = (place for place in places if place not in chosen)
            wrong = (x for x in others if _to_bytes(value_at(chosen, x)) != shares[x])
            return secret, tuple(wrong)
    raise MaskingError(f"{len(shares)} shares that do not give the secret: one or more are wrong")


def _element(random_bytes: RandomBytes) -> int:
    return int.from_bytes(random_bytes(SECRET_BYTES + _SPARE_BYTES), "big") % PRIME


def _value(polynomial: Sequence[int], x: int) -> int:
    value = 0
    for coefficient in polynomial:
        value = (value * x + coefficient) % PRIME
    return value


@lru_cache(maxsize=256)
def _factors(places: tuple[int, ...], x: int) -> tuple[int, ...]:
    """Return Lagrange's factors for the value at x."""
    factors = []
    for place in places:
        over = under = 1
        for other in places:
            if other != place:
                over = over * (x - other) % PRIME
                under = under * (place - other) % PRIME
        factors.append(over * pow(under, -1, PRIME) % PRIME)
    return tuple(factors)


def _to_bytes(element: int) -> bytes:
    return element.to_bytes(SHARE_BYTES, "big")
