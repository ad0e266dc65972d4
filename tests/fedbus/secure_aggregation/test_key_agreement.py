"""Key agreement and derivation, with the vectors of their standards."""

import pytest

from fedbus.errors import MaskingError
from fedbus.secure_aggregation.key_agreement import (
    agreed_secret,
    derived_key,
    open_sealed,
    public_key,
    seal,
)
from tests.fedbus.secure_aggregation.masked_agents import drawn_bytes

SCALARS = [
    (
        "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
        "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
    ),
    (
        "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
        "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
        "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
    ),
]


@pytest.mark.parametrize(("scalar", "point", "out"), SCALARS)
def test_x25519_is_that_of_rfc_7748(scalar: str, point: str, out: str) -> None:
    """Section 5.2."""
    assert agreed_secret(bytes.fromhex(scalar), bytes.fromhex(point)).hex() == out


def test_both_sides_agree_as_in_rfc_7748() -> None:
    """Section 6.1."""
    alice = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    bob = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    assert public_key(bob).hex() == (
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    )
    assert agreed_secret(bob, alice).hex() == (
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    )
    other = b"k" * 32
    assert agreed_secret(other, public_key(bob)) == agreed_secret(bob, public_key(other))


@pytest.mark.parametrize(
    ("secret", "salt", "info", "out"),
    [
        (
            "0b" * 22,
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf",
        ),
        ("0b" * 22, "", "", "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"),
    ],
)
def test_hkdf_is_that_of_rfc_5869(secret: str, salt: str, info: str, out: str) -> None:
    """Appendices A.1 and A.3, the first 32 of their 42 bytes."""
    made = derived_key(bytes.fromhex(secret), bytes.fromhex(info), bytes.fromhex(salt) or None)
    assert made.hex() == out


def test_a_key_with_which_every_secret_is_zero_is_refused() -> None:
    """RFC 7748, section 6.1: a dishonest agent could make the masks of its neighbours known."""
    for point in (bytes(32), (1).to_bytes(32, "little")):
        with pytest.raises(MaskingError, match="no secret can be agreed"):
            agreed_secret(b"k" * 32, point)


def test_only_what_was_sealed_for_this_purpose_opens() -> None:
    """A changed byte, another key or another purpose is noticed."""
    source = drawn_bytes(3)
    sealed = seal(b"shares", b"k" * 32, b"from a to b", source)
    assert open_sealed(sealed, b"k" * 32, b"from a to b") == b"shares"
    for wrong in (
        (sealed[:-1] + bytes([sealed[-1] ^ 1]), b"k" * 32, b"from a to b"),
        (sealed, b"K" * 32, b"from a to b"),
        (sealed, b"k" * 32, b"from b to a"),
    ):
        with pytest.raises(MaskingError, match="does not decrypt"):
            open_sealed(*wrong)
    with pytest.raises(MaskingError, match="a sealed share of 27 bytes"):
        open_sealed(bytes(27), b"k" * 32, b"")


def test_equal_shares_are_sealed_in_different_bytes() -> None:
    """Each has a nonce of its own."""
    source = drawn_bytes(3)
    assert seal(b"shares", b"k" * 32, b"", source) != seal(b"shares", b"k" * 32, b"", source)
