"""Shamir's secret sharing, against another implementation of finite fields."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.errors import MaskingError
from fedbus.secure_aggregation.shamir import PRIME, check_share, join, split
from tests.fedbus.secure_aggregation.masked_agents import drawn_bytes

CASES = json.loads((Path(__file__).parent / "reference/shamir_figures.json").read_text())


def always(_: bytes) -> bool:
    """Take each secret."""
    return True


def shares_of(secret: bytes, least: int, count: int) -> dict[int, bytes]:
    """Return shares by their numbers."""
    return dict(enumerate(split(secret, least, count, drawn_bytes((secret, least))), 1))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{len(case['shares'])} shares")
def test_shares_are_those_of_galois(case: dict[str, Any]) -> None:
    """reference/make_shamir_figures.py wrote them; the same coefficients give the same shares."""
    coefficients = iter(case["coefficients"])

    def random_bytes(count: int) -> bytes:
        return int(next(coefficients), 16).to_bytes(count, "big")

    secret, shares = bytes.fromhex(case["secret"]), [bytes.fromhex(s) for s in case["shares"]]
    least = len(case["coefficients"]) + 1
    assert list(split(secret, least, len(shares), random_bytes)) == shares
    chosen = {number: shares[number - 1] for number in case["chosen"]}
    assert join(chosen, least, always) == (secret, ())


@given(st.binary(min_size=32, max_size=32), st.integers(1, 9), st.integers(0, 5), st.randoms())
def test_any_shares_of_the_threshold_give_the_secret(
    secret: bytes, least: int, more: int, drawn: random.Random
) -> None:
    """Also the largest secret of 32 bytes, which is less than the prime."""
    shares = shares_of(secret, least, least + more)
    chosen = dict(drawn.sample(sorted(shares.items()), least))
    assert join(chosen, least, secret.__eq__) == (secret, ())


def test_fewer_shares_fit_each_secret() -> None:
    """For one missing share, each secret has one value that gives it: nothing is known."""
    shares = shares_of(b"s" * 32, 3, 3)
    found = set()
    for third in range(50):
        some = {1: shares[1], 2: shares[2], 3: third.to_bytes(33, "big")}
        try:
            found.add(join(some, 3, always)[0])
        except MaskingError:  # a value from 2^256 on
            continue
    assert len(found) == 50


def test_too_few_shares_are_refused() -> None:
    """Nothing is computed of them."""
    shares = shares_of(b"s" * 32, 3, 5)
    with pytest.raises(MaskingError, match="2 of the 3 shares that are needed"):
        join({1: shares[1], 4: shares[4]}, 3, always)


@pytest.mark.parametrize("wrong", range(1, 6))
def test_one_wrong_share_is_found_if_there_is_one_to_spare(wrong: int) -> None:
    """A dishonest agent is named, and the sum is right all the same."""
    secret = b"s" * 32
    shares = shares_of(secret, 4, 5)
    shares[wrong] = bytes(33)
    assert join(shares, 4, secret.__eq__) == (secret, (wrong,))


def test_a_wrong_share_among_those_that_are_needed_is_noticed() -> None:
    """The sum would be noise otherwise."""
    secret = b"s" * 32
    shares = shares_of(secret, 3, 3) | {2: bytes(33)}
    with pytest.raises(MaskingError, match="do not give the secret"):
        join(shares, 3, secret.__eq__)


def test_a_value_above_32_bytes_is_no_secret() -> None:
    """The field has 297 elements more than there are secrets."""
    with pytest.raises(MaskingError, match="do not give the secret"):
        join({1: (PRIME - 1).to_bytes(33, "big")}, 1, always)


@pytest.mark.parametrize(
    ("secret", "least", "count"), [(b"short", 1, 1), (bytes(32), 0, 1), (bytes(32), 3, 2)]
)
def test_impossible_splits_are_errors_of_the_caller(secret: bytes, least: int, count: int) -> None:
    """No share is made."""
    with pytest.raises(ValueError, match="shares of which"):
        split(secret, least, count, drawn_bytes(0))


@pytest.mark.parametrize("share", [b"", bytes(32), bytes(34), PRIME.to_bytes(33, "big")])
def test_what_is_no_element_of_the_field_is_no_share(share: bytes) -> None:
    """It came from another node."""
    with pytest.raises(MaskingError, match="no share"):
        check_share(share)
    check_share((PRIME - 1).to_bytes(33, "big"))


def test_coefficients_are_drawn_for_each_secret() -> None:
    """Two sharings of one secret have no share in common."""
    source = drawn_bytes(1)
    first, second = (split(bytes(32), 3, 5, source) for _ in range(2))
    assert not set(first) & set(second)
