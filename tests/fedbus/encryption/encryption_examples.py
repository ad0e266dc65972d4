"""Keys, terms, layouts and updates that the tests of encryption share."""

from collections.abc import Mapping
from functools import cache

import numpy as np

from fedbus.encryption.encrypt import encrypt_update
from fedbus.encryption.encrypted_blob import EncryptedHeader, planned_header
from fedbus.encryption.encryption_terms import encryption_terms
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.parameters import EncryptionParameters, choose_parameters
from fedbus.model.layout import Array, Layout
from fedbus.wire.encryption import EncryptionTerms, FixedPoint

ANCHOR = "a" * 64
BFV = choose_parameters()
CKKS = choose_parameters(scheme="ckks")
SHAPES = {"bias": (3,), "kernel": (2, 1, 5), "scale": ()}
LAYOUT = Layout.of({name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()})


def key_of(parameters: EncryptionParameters = BFV, number: int = 0) -> SecretKey:
    """Return a key, the same one for the same arguments; making one takes a tenth of a second."""
    return _made(parameters, number)


@cache
def _made(parameters: EncryptionParameters, number: int) -> SecretKey:  # noqa: ARG001 - another number: another key
    return SecretKey.generate(parameters)


def terms_of(
    key: SecretKey, *, bits: int = 11, agents: int = 100, max_examples: int = 10
) -> EncryptionTerms:
    """Return the terms of a job with a key."""
    fixed_point = FixedPoint(bits=bits, max_agents=agents, max_examples=max_examples)
    return encryption_terms(key.id, key.parameters, fixed_point)


def header_of(
    key: SecretKey,
    layout: Layout = LAYOUT,
    *,
    ranges: tuple[int, ...] | None = None,
    terms: EncryptionTerms | None = None,
    max_examples: int = 10,
) -> EncryptedHeader:
    """Return the header of a round's updates."""
    return planned_header(
        terms or terms_of(key),
        layout,
        anchor=ANCHOR,
        ranges=ranges or (0,) * len(layout.shared),
        max_examples=max_examples,
    )


def update_of(seed: int, layout: Layout = LAYOUT) -> dict[str, Array]:
    """Return an update with numbers of -1.2 to 1.2."""
    rng = np.random.default_rng(seed)
    return {
        tensor.name: rng.uniform(-1.2, 1.2, tensor.shape).astype(tensor.dtype)
        for tensor in layout.shared
    }


def encrypted(  # noqa: PLR0917 - as encrypt_update
    key: SecretKey,
    seed: int = 1,
    examples: int = 4,
    header: EncryptedHeader | None = None,
    layout: Layout = LAYOUT,
    update: Mapping[str, Array] | None = None,
) -> bytes:
    """Return the encrypted blob of an update, rounded by its seed."""
    return bytes(
        encrypt_update(
            update if update is not None else update_of(seed, layout),
            layout,
            header or header_of(key, layout),
            examples,
            key,
            np.random.default_rng(seed),
        )
    )
