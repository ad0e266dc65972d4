"""Encryption key that a job's updates need, compared with the one that its controller has. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from fedbus.encryption.parameters import (
    DEFAULT_BITS,
    EncryptionParameters,
    check_agents,
    choose_parameters,
)
from fedbus.errors import SettingsError
from fedbus.jobs import JobFault, JobFile
from fedbus.jobs.privacy_consistency import PRIVACY
from fedbus.jobs.protection_options import Homomorphic
from fedbus.wire.encryption import UNKNOWN_KEY_ID
from fedbus.wire.identifiers import Digest

HOMOMORPHIC: Final = f"{PRIVACY}.homomorphic"


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionKeyFacts:
    """What a controller knows about the encryption key that its jobs use.

    Attributes:
        id: The SHA-256 of its public part.
        parameters: All parameters of its scheme; None: unknown, so that a job's own are used, and
            defaults that suffice for it.
    """

    id: Digest
    parameters: EncryptionParameters | None = None


UNKNOWN_KEY: Final = EncryptionKeyFacts(id=UNKNOWN_KEY_ID)
"""The key of a job file that is checked without a controller."""


def encryption_key_faults(
    job: JobFile, wanted: Homomorphic, known: EncryptionKeyFacts | None
) -> Iterator[JobFault]:
    """Yield why the controller's key cannot encrypt a job's updates; `known` None: it has none."""
    if known is None:
        yield JobFault(
            key=HOMOMORPHIC,
            problem="the controller has no encryption key, so no agent could encrypt an update",
            hint="make a pair of keys with `fedbus keys generate FOLDER`, give its public.key to "
            "controllers, collectors and repository and its secret.key to agents, each as "
            "FEDBUS_ENCRYPTION_KEY; or choose secure-aggregation, which needs no key",
        )
        return
    if known != UNKNOWN_KEY and wanted.key is not None and not known.id.startswith(wanted.key):
        yield JobFault(
            key=f"{HOMOMORPHIC}.key",
            problem=f"{wanted.key}, but the controller's encryption key is {known.id[:16]}",
            hint="leave it out, or start controllers, collectors, repository and agents with the "
            "other key",
        )
    yield from _size_faults(job, wanted, known)


def _size_faults(
    job: JobFile, wanted: Homomorphic, known: EncryptionKeyFacts
) -> Iterator[JobFault]:
    """Yield faults of parameters: another key's, insecure ones, or none that hold the sum."""
    try:
        parameters = key_parameters(job, wanted, known)
    except SettingsError as error:
        yield JobFault(key=HOMOMORPHIC, problem=str(error))
        return
    stated = {
        "scheme": wanted.asked_scheme,
        "poly_modulus_degree": wanted.poly_modulus_degree,
        "coeff_mod_bit_sizes": wanted.coeff_mod_bit_sizes,
        "scale_bits": wanted.scale_bits,
    }
    for name, value in stated.items():
        has = getattr(parameters, name)
        if value is not None and value != has:
            yield JobFault(
                key=f"{HOMOMORPHIC}.{name}",
                problem=f"{_shown(value)}, but the controller's encryption key has {_shown(has)}",
                hint="leave it out, or give the nodes a key of these parameters: "
                f"`{_command(stated, parameters.scheme, wanted.bits, job.round.agents)}`",
            )
            return
    if wanted.bits is not None and parameters.scheme == "ckks":
        yield JobFault(
            key=f"{HOMOMORPHIC}.bits",
            problem=f"{wanted.bits}, but ckks does not round numbers to bits",
            hint="leave it out, or choose the scheme bfv",
        )


def _command(stated: Mapping[str, object], scheme: str, bits: int | None, agents: int) -> str:
    """Return the command that makes a key with a job's parameters, by default of this scheme."""
    options = {**stated, "scheme": stated["scheme"] or scheme, "bits": bits, "agents": agents}
    words = [
        f"--{name.replace('_', '-')} {_listed(value)}"
        for name, value in options.items()
        if value is not None
    ]
    return " ".join(("fedbus keys generate FOLDER", *words))


def _listed(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _shown(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)


def key_parameters(
    job: JobFile, wanted: Homomorphic, known: EncryptionKeyFacts
) -> EncryptionParameters:
    """Return the parameters of the key, if they hold the sum of a round; else raise SettingsError.

    Those of an unknown key are chosen for the job.
    """
    agents = job.round.agents
    if known.parameters is None:
        return choose_parameters(
            scheme=wanted.asked_scheme or "bfv",
            bits=wanted.bits or DEFAULT_BITS,
            agents=agents,
            poly_modulus_degree=wanted.poly_modulus_degree,
            coeff_mod_bit_sizes=wanted.coeff_mod_bit_sizes,
            scale_bits=wanted.scale_bits,
        )
    check_agents(known.parameters, agents)
    return known.parameters
