"""Limits of one key for all agents: what its holders can read, and what they cannot find out.

Each test shows a limit that docs/privacy.md states: it fails if the limit is gone.
"""

import numpy as np
import pytest

from fedbus.encryption.encrypt import decrypt_version, decrypted_slots, encrypted_slots
from fedbus.errors import EncryptionError
from tests.fedbus.encryption.encryption_examples import (
    LAYOUT,
    encrypted,
    header_of,
    key_of,
    update_of,
)
from tests.fedbus.encryption.test_encrypt import total_of

STEP = 1 / 1023 / 0.4
"""One step of 11 bits, of an agent that counts 4 of 10 examples."""


def assert_is_update(blob: bytes, seed: int) -> None:
    """Compare what the key opens with the update of one agent."""
    opened = decrypt_version(blob, LAYOUT, key_of())
    for name, update in update_of(seed).items():
        assert np.abs(opened[name] - np.clip(update, -1, 1)).max() <= STEP


def test_every_key_holder_opens_the_update_of_any_agent() -> None:
    """All agents have one key: what one of them gets from the collector, it can read."""
    assert_is_update(encrypted(key_of(), 7), 7)


def test_a_version_of_one_update_shows_that_update() -> None:
    """A collector may leave all others out: the record says so, and the count in the header."""
    version = total_of([encrypted(key_of(), 7)], header_of(key_of()), key_of())
    assert decrypted_slots(version, LAYOUT, key_of())[0].count == 1
    assert_is_update(version, 7)


def test_one_update_added_twice_passes_as_the_sum_of_two() -> None:
    """A dishonest collector counts it twice, and the canary does: a count is no proof."""
    update = encrypted(key_of(), 7)
    version = total_of([update, update], header_of(key_of()), key_of())
    assert decrypted_slots(version, LAYOUT, key_of())[0].count == 2
    assert_is_update(version, 7)


def test_a_wrong_canary_is_found_by_key_holders_alone() -> None:
    """The collector adds what it cannot read; the version of that round is lost."""
    header, rows = decrypted_slots(encrypted(key_of(), 7), LAYOUT, key_of())
    rows[:, 0] = 2
    wrong = bytes(encrypted_slots(header, rows, key_of()))
    version = total_of([encrypted(key_of(), 8), wrong], header_of(key_of()), key_of())
    with pytest.raises(EncryptionError, match="its canary is 3 and not 2"):
        decrypt_version(version, LAYOUT, key_of())
