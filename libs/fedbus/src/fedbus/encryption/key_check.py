"""Check of a pair of keys: whether they belong together, and whether a sum can be decrypted."""

from typing import Final

import numpy as np

from fedbus.encryption.encrypt import CANARY_TOLERANCE
from fedbus.encryption.key_files import MAKE_A_PAIR, PublicKey, SecretKey
from fedbus.encryption.tenseal_contexts import (
    SlotEncryption,
    decrypted,
    loaded_context,
    parsed_ciphertext,
    saved_context,
    saved_file,
)
from fedbus.errors import EncryptionError, SettingsError

_SUMMED: Final = 3
"""Ciphertexts in the sum that is tried, if the key allows as many."""


def check_pair(secret: SecretKey, public: PublicKey) -> int:
    """Add ciphertexts with a public key and decrypt the sum with a secret one.

    Returns:
        The number of ciphertexts that were added.

    Raises:
        SettingsError: They do not belong together, or the sum is wrong.
    """
    if secret.id != public.id:
        raise SettingsError(
            f"not a pair: the secret key is {secret.id[:12]}, the public one {public.id[:12]}; "
            f"use the two files of one folder, or {MAKE_A_PAIR}"
        )
    try:
        private = loaded_context(secret.context)
        if saved_context(private, secret=False) != public.context:
            raise SettingsError(
                f"the secret key has another public part than its file says; {MAKE_A_PAIR}"
            )
        return _try_sum(private, public)
    except (EncryptionError, RuntimeError, ValueError) as error:
        raise SettingsError(f"the keys cannot decrypt a sum: {error}; {MAKE_A_PAIR}") from error


def _try_sum(private: object, public: PublicKey) -> int:
    parameters, context = public.parameters, loaded_context(public.context)
    count = min(_SUMMED, parameters.most_agents)
    slots = np.arange(parameters.slots, dtype=np.int64) % 2
    numbers = slots if parameters.scheme == "bfv" else slots.astype(np.float64)
    encryption = SlotEncryption(private, parameters)
    with saved_file() as path:
        total = parsed_ciphertext(context, parameters, encryption.encrypt(numbers, path))
        for _ in range(count - 1):
            total += parsed_ciphertext(context, parameters, encryption.encrypt(numbers, path))
    found = decrypted(parsed_ciphertext(private, parameters, total.serialize()), parameters)
    if np.abs(found - count * numbers).max() > CANARY_TOLERANCE:
        raise EncryptionError(f"the sum of {count} ciphertexts is wrong")
    return count
