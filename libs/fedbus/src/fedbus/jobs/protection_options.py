"""Options of homomorphic encryption and of secure aggregation in a job file. Pure.

Both hide single updates from the collector. Neither is a privacy mechanism with an ε, and a job may
have one of them beside its mechanism. `fedbus.strategies.protection_terms` resolves them.
"""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from fedbus.jobs.field_types import NOT_A_FLAG, JobFileObject
from fedbus.wire.blobs import Scheme
from fedbus.wire.encryption import MAX_FIXED_POINT_BITS
from fedbus.wire.secure_aggregation import MAX_MASKED_AGENTS

Bits = Annotated[int, Field(ge=4, le=MAX_FIXED_POINT_BITS), NOT_A_FLAG]
Examples = Annotated[int, Field(ge=1, lt=2**31), NOT_A_FLAG]
FirstRange = Annotated[float, Field(ge=1e-38, le=1e38), NOT_A_FLAG]
PrimeBits = Annotated[int, Field(ge=17, le=60), NOT_A_FLAG]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _power_of_two(value: int) -> int:
    if value.bit_count() != 1:
        near = 1 << (value.bit_length() - 1)
        raise PydanticCustomError(
            "power_of_two", "expected a power of two", {"hint": f"give {near} or {2 * near}"}
        )
    return value


def _key_id(value: str) -> str:
    if re.fullmatch("[0-9a-f]{8,64}", value) is None:
        raise PydanticCustomError("key_id", "expected 8 to 64 of the digits 0-9 and a-f")
    return value


def _list_of_text(value: object) -> object:
    """Read the text of a list, as aerOS's files may have it: "[60, 40, 40]"."""
    return value.strip("[]() ").split(",") if isinstance(value, str) else value


class Protection(JobFileObject):
    """How updates become whole numbers that are added unseen."""

    max_examples: Examples | None = Field(
        default=None,
        description="An agent with more examples counts as if it had this number; 1: all agents "
        "count alike. Left out, no agent's number is reduced.",
    )
    first_range: FirstRange = Field(
        default=1.0,
        description="Numbers of updates are clipped to plus or minus this in the first round; "
        "rounded up to a power of two. Greater if it would cut off noise that agents add.",
    )
    adaptive_ranges: bool = Field(
        default=True,
        description="Whether the ranges of later rounds follow the updates: each agent then states "
        "in clear the power of two that each tensor of its update needs.",
    )


class Homomorphic(Protection):
    """Agents encrypt their updates, and the collector adds the ciphertexts."""

    scheme: Annotated[Scheme, BeforeValidator(_lower)] | None = Field(
        default=None,
        description="bfv: exact sums of whole numbers; ckks: sums of floats with a small error, "
        "about three times as many bytes. Left out: ckks if coeff_mod_bit_sizes or scale_bits is "
        "given, as aerOS means it, else that of the encryption key.",
    )
    bits: Bits | None = Field(
        default=None, description="bfv: bits of one number after rounding; 11 if left out."
    )
    poly_modulus_degree: (
        Annotated[int, Field(ge=1024, le=32768), NOT_A_FLAG, AfterValidator(_power_of_two)] | None
    ) = Field(
        default=None,
        description="Degree of the polynomials; that of the encryption key if left out.",
    )
    coeff_mod_bit_sizes: (
        Annotated[
            tuple[PrimeBits, ...],
            Field(min_length=1, max_length=16),
            BeforeValidator(_list_of_text),
        ]
        | None
    ) = Field(
        default=None,
        description="Bits of the primes of the coefficient modulus; those of the encryption key if "
        "left out.",
    )
    scale_bits: Annotated[int, Field(ge=1, le=60), NOT_A_FLAG] | None = Field(
        default=None, description="ckks: the scale is 2 to this power."
    )
    key: Annotated[str, AfterValidator(_key_id)] | None = Field(
        default=None,
        description="Id of the encryption key, or its first characters, at least 8: a controller "
        "with another key refuses the job. fedbus keys show prints it.",
    )

    @property
    def asked_scheme(self) -> Scheme | None:
        """The scheme; CKKS if its parameters are given as aerOS writes them; None: any."""
        of_ckks = self.coeff_mod_bit_sizes is not None or self.scale_bits is not None
        return self.scheme or ("ckks" if of_ckks else None)


class SecureAggregation(Protection):
    """Agents add masks to their updates that cancel out in the sum."""

    bits: Bits = Field(default=16, description="Bits of one number after rounding.")
    neighbours: Annotated[int, Field(ge=2, le=MAX_MASKED_AGENTS - 1), NOT_A_FLAG] = Field(
        default=40,
        description="Agents that each agent exchanges masks with; all others of the round if there "
        "are fewer.",
    )
    threshold: Annotated[float, Field(gt=0.5, le=1), NOT_A_FLAG] = Field(
        default=0.67,
        description="Share of an agent's neighbourhood, itself included, without which nothing is "
        "unmasked.",
    )
    step_seconds: Annotated[float, Field(gt=0, le=3600), NOT_A_FLAG] = Field(
        default=10.0, description="Seconds that a step waits for agents that do not answer."
    )


PROTECTIONS: Final = ("homomorphic", "secure-aggregation")
"""The keys of protections in `privacy-mechanisms`, of which a job may have one."""
