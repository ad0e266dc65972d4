"""Parameters that exist are secure, and no sum that they allow can overflow."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.encryption.encryption_terms import encryption_terms, parameters_of
from fedbus.encryption.parameters import (
    BFV_SIZES,
    STANDARD_BITS,
    EncryptionParameters,
    check_agents,
    choose_parameters,
    fields_for,
    parameters_digest,
)
from fedbus.encryption.prime_moduli import least_product
from fedbus.errors import SettingsError
from fedbus.model.fixed_point import sum_bits
from fedbus.wire.encryption import FixedPoint
from tests.fedbus.encryption.encryption_examples import BFV, CKKS

KEY = "b" * 64


@given(
    bits=st.integers(4, 24),
    agents=st.integers(1, 10_000),
    plain_modulus=st.integers(2, 2**60),
)
def test_fields_are_as_many_as_fit_and_no_more(bits: int, agents: int, plain_modulus: int) -> None:
    """One more field would let the greatest sum wrap around the modulus."""
    fields, width = fields_for(bits, agents, plain_modulus), sum_bits(bits, agents)

    def greatest_sum(count: int) -> int:
        return sum(agents * (2**bits - 1) << (width * field) for field in range(count))

    assert greatest_sum(fields) < plain_modulus
    assert fields == 16 or greatest_sum(fields + 1) >= plain_modulus
    assert agents * (2**bits - 1) < 2**width


def test_a_slot_is_full_exactly_at_its_modulus() -> None:
    """The boundary itself: a modulus equal to the greatest sum is too small by one."""
    assert fields_for(11, 100, 100 * 2047) == 0
    assert fields_for(11, 100, 100 * 2047 + 1) == 1
    two = 100 * 2047 * (1 + 2**18)
    assert [fields_for(11, 100, two + more) for more in (0, 1)] == [1, 2]
    assert fields_for(4, 1, 2**200) == 16


@given(bits=st.integers(4, 24), agents=st.integers(1, 2000))
def test_chosen_parameters_hold_their_agents_in_the_worst_case(bits: int, agents: int) -> None:
    """Noise of 22 from each agent, times twice the plain modulus, is below the modulus."""
    try:
        made = choose_parameters(bits=bits, agents=agents)
    except SettingsError as error:
        assert f"the sum of {agents} numbers of {bits} bits" in str(error)  # noqa: PT017 - some have none
        return
    assert made.most_agents >= agents
    assert fields_for(bits, agents, made.plain_modulus) >= 1
    modulus = least_product(made.coeff_mod_bit_sizes, made.poly_modulus_degree)
    assert 2 * made.plain_modulus * 22 * made.most_agents < modulus
    assert sum(made.coeff_mod_bit_sizes) <= STANDARD_BITS[made.poly_modulus_degree]


@pytest.mark.parametrize(
    ("bits", "agents", "sizes", "fields"),
    [
        (11, 100, (54, 55), 2),
        (16, 100, (60, 49), 2),
        (9, 100, (60, 49), 3),
        (16, 1000, (36, 36, 37), 2),
        (24, 10, (36, 36, 37), 2),
        (24, 5000, (60, 49), 1),
    ],
)
def test_sizes_are_chosen_so_that_updates_have_few_bytes(
    bits: int, agents: int, sizes: tuple[int, ...], fields: int
) -> None:
    """Without a user who knows what a modulus is."""
    made = choose_parameters(bits=bits, agents=agents)
    assert made.coeff_mod_bit_sizes == sizes
    assert fields_for(bits, agents, made.plain_modulus) == fields
    assert sizes in BFV_SIZES


def test_ckks_parameters_are_chosen_by_agents() -> None:
    """The sum of numbers of -1 to 1 must stay below half of the modulus."""
    assert choose_parameters(scheme="ckks").coeff_mod_bit_sizes == (36, 36)
    assert choose_parameters(scheme="ckks", agents=256).coeff_mod_bit_sizes == (54, 55)
    assert choose_parameters(scheme="ckks", agents=10_000).coeff_mod_bit_sizes == (60, 49)
    assert CKKS.most_agents == 255
    seeds = choose_parameters(
        scheme="ckks", poly_modulus_degree=8192, coeff_mod_bit_sizes=(60, 40, 40), scale_bits=40
    )
    assert seeds.slots == 4096
    assert seeds.most_agents == 10_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scheme": "rsa"}, "scheme 'rsa'; use bfv or ckks"),
        ({"poly_modulus_degree": 4095}, "poly_modulus_degree 4095; use one of 1024, 2048"),
        ({"coeff_mod_bit_sizes": (54,)}, r"\[54\]; use 2 to 16 sizes of 17 to 60 bits"),
        ({"coeff_mod_bit_sizes": (61, 40)}, "use 2 to 16 sizes of 17 to 60 bits"),
        ({"coeff_mod_bit_sizes": (16, 40)}, "use 2 to 16 sizes of 17 to 60 bits"),
        ({"coeff_mod_bit_sizes": (55, 55)}, "have 110 bits; with poly_modulus_degree 4096 at most"),
        ({"plain_modulus": 40961 + 2}, "plain_modulus 40963; it must be a prime below 2"),
        ({"plain_modulus": 8193}, "plain_modulus 8193; it must be a prime below"),
        ({"plain_modulus": 2**60 + 1}, "it must be a prime below"),
        ({"scale_bits": 26}, "scale_bits belongs to CKKS"),
        ({"scheme": "ckks"}, "plain_modulus belongs to BFV"),
        ({"coeff_mod_bit_sizes": (40, 40)}, "leave no room for the sum of any update"),
        ({"coeff_mod_bit_sizes": (17, 17, 17)}, "too few primes of 17 bits"),
    ],
)
def test_what_is_insecure_or_impossible_is_refused(options: dict[str, Any], said: str) -> None:
    """With what would be accepted."""
    with pytest.raises(SettingsError, match=said):
        replace(BFV, **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"coeff_mod_bit_sizes": (60, 60)}, "at most 109 are as secure as 128 bits"),
        ({"coeff_mod_bit_sizes": (17, 17, 17)}, "there are too few primes of 17 bits"),
        ({"coeff_mod_bit_sizes": (20, 20)}, "do not hold the sum of 100 numbers of 11 bits"),
        ({"bits": 24, "agents": 10_000, "coeff_mod_bit_sizes": (54, 55)}, "do not hold the sum"),
        (
            {"scheme": "ckks", "scale_bits": 30, "coeff_mod_bit_sizes": (36, 36)},
            "at most 15 agents",
        ),
        ({"scheme": "ckks", "poly_modulus_degree": 2048}, "have 72 bits; with poly_modulus_deg"),
        ({"scheme": "ckks", "scale_bits": 52}, "hold the sum of at most 63 agents, and 100"),
    ],
)
def test_options_that_do_not_suffice_are_refused(options: dict[str, Any], said: str) -> None:
    """Before a key is made with them."""
    with pytest.raises(SettingsError, match=said):
        choose_parameters(**options)


def test_terms_lead_back_to_their_parameters() -> None:
    """An agent gets the terms in a task, and refuses those that contradict themselves."""
    point = FixedPoint(bits=11, max_agents=100, max_examples=1)
    for parameters in (BFV, CKKS):
        assert parameters_of(encryption_terms(KEY, parameters, point)) == parameters
    terms = encryption_terms(KEY, BFV, point)
    assert terms.fields == 2
    assert terms.parameters == parameters_digest(BFV, KEY, 2)
    for wrong, said in (
        (replace(terms, fields=3), "3 numbers in a slot, of which the sum can overflow"),
        (replace(terms, key="c" * 64), "digest of the parameters is not that"),
        (replace(terms, fields=1), "digest of the parameters is not that"),
        (replace(terms, fixed_point=replace(point, max_agents=101)), "at most 100 agents, and 101"),
        (replace(encryption_terms(KEY, CKKS, point), fields=2), "2 numbers in a slot; CKKS has 1"),
    ):
        with pytest.raises(SettingsError, match=said):
            parameters_of(wrong)


def test_a_key_that_is_too_small_says_which_one_to_make() -> None:
    """The job's bits and agents are in the command."""
    with pytest.raises(SettingsError, match="make a key for more: `fedbus keys generate FOLDER -"):
        check_agents(BFV, 101)
    small = EncryptionParameters("bfv", 4096, (54, 55), 65537)
    with pytest.raises(SettingsError, match="generate FOLDER --bits 24 --agents 50`"):
        encryption_terms(KEY, small, FixedPoint(bits=24, max_agents=50, max_examples=1))


def test_the_digest_differs_with_every_parameter() -> None:
    """It is compared before bytes of an agent are parsed."""
    others = [
        (BFV, KEY, 1),
        (BFV, "c" * 64, 2),
        (CKKS, KEY, 2),
        (replace(BFV, coeff_mod_bit_sizes=(55, 54)), KEY, 2),
        (replace(BFV, plain_modulus=65537), KEY, 2),
    ]
    digests = {parameters_digest(*each) for each in [(BFV, KEY, 2), *others]}
    assert len(digests) == 6
