"""Homomorphic encryption in messages and records: a job's terms, and what a version is made with.

Agents encrypt, and the collector adds ciphertexts. No process without the secret key can read an
update or an encrypted version. The numbers of an encrypted version are distances from its anchor:
the last version of the model that is not encrypted.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from fedbus.limits import MAX_TENSORS
from fedbus.scalars import Bounds, Flag, Strict
from fedbus.wire.blobs import Scheme
from fedbus.wire.identifiers import Digest

RangeExponent = Annotated[int, Strict(ge=-126, le=127)]
"""With the exponent e, the numbers of a tensor are clipped to the range -2^e to 2^e."""
Ranges = Annotated[tuple[RangeExponent, ...], Bounds(max_length=MAX_TENSORS)]
"""One exponent for each tensor of an update, in the order of the layout without local tensors."""

MAX_FIXED_POINT_BITS: Final = 24
UNKNOWN_KEY_ID: Final[Digest] = "0" * 64
"""In the terms of a job file that is checked without the controller's key; no key has this id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPoint:
    """How agents write the numbers of an update as whole numbers, which can be added exactly.

    Attributes:
        bits: Bits of one agent's number, after clipping and stochastic rounding.
        max_agents: The most agents whose numbers are added: no sum overflows.
        max_examples: The upper limit of the `max_examples` of plans; 1: all agents count alike.
        first_range: The exponent of all ranges in the job's first round.
        adaptive: Whether the ranges follow the updates from round to round; agents then state the
            exponents that their updates need, which is readable.
    """

    bits: Annotated[int, Strict(ge=4, le=MAX_FIXED_POINT_BITS)]
    max_agents: Annotated[int, Strict(ge=1, le=10_000)]
    max_examples: Annotated[int, Strict(ge=1, lt=2**31)]
    first_range: RangeExponent = 0
    adaptive: Flag = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionTerms:
    """How a job's updates are encrypted, resolved when it is submitted.

    Attributes:
        scheme: The scheme.
        key: The id of the key: the SHA-256 of its public part.
        parameters: The digest of all parameters of the scheme: those below, and the key's id.
        poly_modulus_degree: Degree of the polynomials, N; a ciphertext has N slots (CKKS: N / 2).
        coeff_mod_bit_sizes: Bits of each prime of the coefficient modulus.
        plain_modulus: BFV: the prime modulus of a slot; 0 for CKKS.
        scale_bits: CKKS: the scale is 2 to this power; 0 for BFV.
        fields: BFV: numbers in one slot; 1 for CKKS.
        fixed_point: How the numbers become whole numbers; CKKS uses `max_agents`, `max_examples`
            and the ranges only.
    """

    scheme: Scheme
    key: Digest
    parameters: Digest
    poly_modulus_degree: Annotated[int, Strict(ge=1024, le=32768)]
    coeff_mod_bit_sizes: Annotated[
        tuple[Annotated[int, Strict(ge=17, le=60)], ...], Bounds(min_length=1, max_length=16)
    ]
    plain_modulus: Annotated[int, Strict(ge=0, lt=2**60)] = 0
    scale_bits: Annotated[int, Strict(ge=0, le=60)] = 0
    fields: Annotated[int, Strict(ge=1, le=16)] = 1
    fixed_point: FixedPoint
