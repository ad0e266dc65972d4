"""A small key for tests of encrypted jobs, which is quick, and the terms of a job with it."""

from functools import cache
from pathlib import Path

from fedbus.encryption.encryption_terms import encryption_terms
from fedbus.encryption.key_files import PUBLIC_NAME, SECRET_NAME, SecretKey
from fedbus.encryption.parameters import choose_parameters
from fedbus.wire.encryption import EncryptionTerms, FixedPoint

AGENTS = 5
BITS = 11
FIXED_POINT = FixedPoint(bits=BITS, max_agents=AGENTS, max_examples=100)


@cache
def sample_key() -> SecretKey:
    """Make the key, once in a process."""
    small = choose_parameters(
        bits=BITS, agents=AGENTS, poly_modulus_degree=2048, coeff_mod_bit_sizes=(36, 18)
    )
    return SecretKey.generate(small)


def sample_terms(fixed_point: FixedPoint = FIXED_POINT) -> EncryptionTerms:
    """Return the terms of a job with this key."""
    key = sample_key()
    return encryption_terms(key.id, key.parameters, fixed_point)


def save_key(folder: Path) -> tuple[Path, Path]:
    """Write both files, and return the secret one and the public one."""
    secret, public = folder / SECRET_NAME, folder / PUBLIC_NAME
    sample_key().save(secret)
    sample_key().public.save(public)
    return secret, public
