"""Parameters of homomorphic encryption: defaults, bounds and digests. Pure.

Every combination that exists can be used: its security is at least 128 bits by the table of the
Homomorphic Encryption Standard, and neither noise nor numbers can exceed what a ciphertext holds
for as many agents as `most_agents` says. Those bounds hold in the worst case, not on average.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Final

import msgpack

from fedbus.encryption.prime_moduli import is_prime, least_product, primes_below
from fedbus.errors import SettingsError
from fedbus.limits import MAX_COHORT_AGENTS
from fedbus.model.fixed_point import sum_bits
from fedbus.wire.blobs import Scheme

STANDARD_BITS: Final[Mapping[int, int]] = {
    1024: 27, 2048: 54, 4096: 109, 8192: 218, 16384: 438, 32768: 881,
}  # fmt: skip
"""Most bits of all primes together for 128 bits of security, by N (HE standard, table 1)."""

BFV_SIZES: Final = ((54, 55), (60, 49), (36, 36, 37))
"""Sizes of primes tried for N = 4096, in this order; the first one of those with least bytes."""
CKKS_SIZES: Final = (((36, 36), 26), ((54, 55), 40), ((60, 49), 40))
"""Sizes of primes with bits of the scale, tried for N = 4096: the first one that suffices."""
DEFAULT_DEGREE: Final = 4096
DEFAULT_BITS: Final = 11
DEFAULT_AGENTS: Final = 100

_LEAST_PRIME_BITS: Final = 17
_MOST_PRIME_BITS: Final = 60
_MOST_FIELDS: Final = 16
_NOISE: Final = 22
"""Noise of a fresh symmetric ciphertext, at most: 21 (centred binomial of 42 coins, the widest that
SEAL is built with), and the rounding of the message, below 1."""


@dataclass(frozen=True)
class EncryptionParameters:
    """A scheme with all of its parameters, verified.

    Attributes:
        scheme: BFV adds whole numbers exactly; CKKS adds floats with an error.
        poly_modulus_degree: Degree of the polynomials, N.
        coeff_mod_bit_sizes: Bits of each prime of the coefficient modulus; the last one is not part
            of ciphertexts.
        plain_modulus: BFV: the prime modulus of a slot; 0 for CKKS.
        scale_bits: CKKS: numbers are multiplied by 2 to this power; 0 for BFV.

    Raises:
        SettingsError: They are insecure, or cannot add the numbers of even one agent.
    """

    scheme: Scheme
    poly_modulus_degree: int
    coeff_mod_bit_sizes: tuple[int, ...]
    plain_modulus: int = 0
    scale_bits: int = 0

    def __post_init__(self) -> None:
        """Verify the parameters."""
        if self.scheme not in {"bfv", "ckks"}:
            raise SettingsError(f"scheme {str(self.scheme)[:40]!r}; use bfv or ckks")
        check_moduli(self.poly_modulus_degree, self.coeff_mod_bit_sizes)
        self._check_numbers()

    def _check_numbers(self) -> None:
        step = 2 * self.poly_modulus_degree
        if self.scheme == "bfv" and self.scale_bits:
            raise SettingsError("scale_bits belongs to CKKS; leave it out, or set scheme to ckks")
        if self.scheme == "ckks" and self.plain_modulus:
            raise SettingsError("plain_modulus belongs to BFV; leave it out, or set scheme to bfv")
        if self.scheme == "bfv" and (
            not step < self.plain_modulus < 1 << _MOST_PRIME_BITS
            or self.plain_modulus % step != 1
            or not is_prime(self.plain_modulus)
        ):
            raise SettingsError(
                f"plain_modulus {self.plain_modulus}; it must be a prime below 2^60 that leaves 1 "
                f"when divided by {step}"
            )
        if self.most_agents < 1:
            raise SettingsError(
                f"coeff_mod_bit_sizes {list(self.coeff_mod_bit_sizes)} leave no room for the sum "
                "of any update; use greater ones, or fewer bits a number"
            )

    @property
    def slots(self) -> int:
        """Numbers in one ciphertext."""
        return self.poly_modulus_degree // (1 if self.scheme == "bfv" else 2)

    @cached_property
    def most_agents(self) -> int:
        """The most ciphertexts that can be added: the sum is decrypted correctly in any case.

        BFV: the noise of all, times 2 * plain_modulus, is below the coefficient modulus. CKKS: the
        sum of numbers of -1 to 1, and noise of as much again, is below half of the modulus.
        """
        degree, sizes = self.poly_modulus_degree, self.coeff_mod_bit_sizes
        if self.scheme == "bfv":
            limit = (_modulus(degree, sizes) - 1) // (2 * _NOISE * self.plain_modulus)
        else:
            limit = _most_ckks_agents(degree, sizes, self.scale_bits)
        return min(limit, MAX_COHORT_AGENTS)


def check_moduli(degree: int, sizes: tuple[int, ...]) -> None:
    """Raise SettingsError unless degree and sizes of primes are secure and SEAL can use them."""
    if degree not in STANDARD_BITS:
        known = ", ".join(map(str, STANDARD_BITS))
        raise SettingsError(f"poly_modulus_degree {degree}; use one of {known}")
    if not 2 <= len(sizes) <= _MOST_FIELDS or not all(  # noqa: PLR2004 - one prime is special
        _LEAST_PRIME_BITS <= size <= _MOST_PRIME_BITS for size in sizes
    ):
        raise SettingsError(
            f"coeff_mod_bit_sizes {list(sizes)}; use 2 to 16 sizes of {_LEAST_PRIME_BITS} to "
            f"{_MOST_PRIME_BITS} bits"
        )
    if sum(sizes) > STANDARD_BITS[degree]:
        raise SettingsError(
            f"coeff_mod_bit_sizes {list(sizes)} have {sum(sizes)} bits; with "
            f"poly_modulus_degree {degree} at most {STANDARD_BITS[degree]} are as secure as "
            "128 bits (Homomorphic Encryption Standard); use fewer bits or a greater degree"
        )


def choose_parameters(  # noqa: PLR0913 - the keys of a job file, keyword-only
    *,
    scheme: Scheme = "bfv",
    bits: int = DEFAULT_BITS,
    agents: int = DEFAULT_AGENTS,
    poly_modulus_degree: int | None = None,
    coeff_mod_bit_sizes: tuple[int, ...] | None = None,
    scale_bits: int | None = None,
) -> EncryptionParameters:
    """Return parameters for updates of `bits` bits from at most `agents` agents.

    What is not given is chosen so that an update has few bytes.

    Raises:
        SettingsError: What is given is insecure or does not suffice; the message says what would.
    """
    degree = poly_modulus_degree or DEFAULT_DEGREE
    if coeff_mod_bit_sizes:
        check_moduli(degree, coeff_mod_bit_sizes)
    if scheme == "ckks":
        return _chosen_ckks(degree, agents, coeff_mod_bit_sizes, scale_bits)
    candidates = (coeff_mod_bit_sizes,) if coeff_mod_bit_sizes else BFV_SIZES
    found = [
        EncryptionParameters("bfv", degree, sizes, modulus, scale_bits or 0)
        for sizes in candidates
        if (modulus := _plain_modulus(degree, sizes, agents)) and fields_for(bits, agents, modulus)
    ]
    if not found:
        raise SettingsError(
            f"coeff_mod_bit_sizes {listed_sizes(candidates)} do not hold the sum of {agents} "
            f"numbers of {bits} bits; use fewer bits, fewer agents or greater sizes"
        )
    return min(found, key=lambda each: _cost(each, fields_for(bits, agents, each.plain_modulus)))


def _chosen_ckks(
    degree: int, agents: int, sizes: tuple[int, ...] | None, scale_bits: int | None
) -> EncryptionParameters:
    choices = [
        (sizes or each, scale if scale_bits is None else scale_bits) for each, scale in CKKS_SIZES
    ]
    check_moduli(degree, choices[0][0])
    chosen = next(
        (each for each in choices if _most_ckks_agents(degree, *each) >= agents), choices[-1]
    )
    made = EncryptionParameters("ckks", degree, chosen[0], scale_bits=chosen[1])
    check_agents(made, agents)
    return made


def _most_ckks_agents(degree: int, sizes: tuple[int, ...], scale_bits: int) -> int:
    """Return how many numbers of -1 to 1 half of the modulus holds, with noise of as much again."""
    return _modulus(degree, sizes) // 2 // (2 << scale_bits)


def _modulus(degree: int, sizes: tuple[int, ...]) -> int:
    """Return the least modulus that a ciphertext can have."""
    try:
        return least_product(sizes, degree)
    except ValueError as error:
        raise SettingsError(f"coeff_mod_bit_sizes: {error}; use greater sizes") from None


def listed_sizes(candidates: tuple[tuple[int, ...], ...]) -> str:
    """Format sizes of primes for a sentence."""
    return " or ".join(str(list(sizes)) for sizes in candidates)


def fields_for(bits: int, agents: int, plain_modulus: int) -> int:
    """Return the numbers that one slot holds, 0 to 16: the sum of `agents` such slots is below t.

    A field has `sum_bits(bits, agents)` bits, so no field reaches the next one, and
    n * (2^b - 1) * Σ 2^(w·i) < t, so the slot does not wrap around its modulus.
    """
    width, fields, total = sum_bits(bits, agents), 0, 0
    while fields < _MOST_FIELDS:
        total += agents * ((1 << bits) - 1) << (width * fields)
        if total >= plain_modulus:
            break
        fields += 1
    return fields


def parameters_digest(parameters: EncryptionParameters, key: str, fields: int) -> str:
    """Return the SHA-256, 64 hex digits, of all parameters, the key's id and the fields."""
    content = [*sorted(asdict(parameters).items()), ("key", key), ("fields", fields)]
    return hashlib.sha256(msgpack.packb(content)).hexdigest()


def _cost(parameters: EncryptionParameters, fields: int) -> float:
    """Return what grows with the bytes of a number and with the time for it.

    A prime costs 18 bits more than it has: a coefficient takes 64 bits before compression, and two
    primes take twice the time.
    """
    return sum(size + 18 for size in parameters.coeff_mod_bit_sizes[:-1]) / fields


def check_agents(parameters: EncryptionParameters, agents: int) -> None:
    """Raise SettingsError if parameters cannot add the numbers of this many agents."""
    if agents > parameters.most_agents:
        raise SettingsError(
            f"coeff_mod_bit_sizes {list(parameters.coeff_mod_bit_sizes)} hold the sum of at most "
            f"{parameters.most_agents} agents, and {agents} may take part; ask fewer agents in a "
            f"round, or make a key for more: `fedbus keys generate FOLDER --agents {agents}`"
        )


def _plain_modulus(degree: int, sizes: tuple[int, ...], agents: int) -> int:
    """Return the greatest plain modulus that `agents` agents can use, or 0."""
    limit = (_modulus(degree, sizes) - 1) // (2 * _NOISE * agents)
    limit = min(limit + 1, 1 << _MOST_PRIME_BITS)
    return next((prime for prime in primes_below(limit, 2 * degree) if prime > 2 * degree), 0)
