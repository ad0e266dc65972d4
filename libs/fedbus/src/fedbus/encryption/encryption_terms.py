"""Terms of encryption of a job: made from a key and the job's fixed point, and verified. Pure."""

from fedbus.encryption.parameters import (
    EncryptionParameters,
    check_agents,
    fields_for,
    parameters_digest,
)
from fedbus.errors import SettingsError
from fedbus.wire.encryption import EncryptionTerms, FixedPoint


def encryption_terms(
    key: str, parameters: EncryptionParameters, fixed_point: FixedPoint
) -> EncryptionTerms:
    """Return the terms of a job whose updates are encrypted with a key.

    Args:
        key: The id of the key.
        parameters: The key's.
        fixed_point: The job's: how many bits, and of how many agents at most.

    Raises:
        SettingsError: The key cannot hold the sum; the message says what would.
    """
    check_agents(parameters, fixed_point.max_agents)
    fields = 1
    if parameters.scheme == "bfv":
        fields = fields_for(fixed_point.bits, fixed_point.max_agents, parameters.plain_modulus)
    if not fields:
        raise SettingsError(
            f"the key's slots cannot hold the sum of {fixed_point.max_agents} numbers of "
            f"{fixed_point.bits} bits; use fewer bits, or make a key for them: `fedbus keys "
            f"generate FOLDER --bits {fixed_point.bits} --agents {fixed_point.max_agents}`"
        )
    return EncryptionTerms(
        scheme=parameters.scheme,
        key=key,
        parameters=parameters_digest(parameters, key, fields),
        poly_modulus_degree=parameters.poly_modulus_degree,
        coeff_mod_bit_sizes=parameters.coeff_mod_bit_sizes,
        plain_modulus=parameters.plain_modulus,
        scale_bits=parameters.scale_bits,
        fields=fields,
        fixed_point=fixed_point,
    )


def parameters_of(terms: EncryptionTerms) -> EncryptionParameters:
    """Return the parameters in a job's terms.

    Raises:
        SettingsError: They are insecure, contradict each other or do not suffice for the agents.
    """
    made = EncryptionParameters(
        terms.scheme,
        terms.poly_modulus_degree,
        terms.coeff_mod_bit_sizes,
        terms.plain_modulus,
        terms.scale_bits,
    )
    agents, bits = terms.fixed_point.max_agents, terms.fixed_point.bits
    check_agents(made, agents)
    if terms.scheme == "bfv" and not 0 < terms.fields <= fields_for(
        bits, agents, made.plain_modulus
    ):
        raise SettingsError(f"{terms.fields} numbers in a slot, of which the sum can overflow")
    if terms.scheme == "ckks" and terms.fields != 1:
        raise SettingsError(f"{terms.fields} numbers in a slot; CKKS has 1")
    if terms.parameters != parameters_digest(made, terms.key, terms.fields):
        raise SettingsError("the digest of the parameters is not that of the parameters")
    return made
