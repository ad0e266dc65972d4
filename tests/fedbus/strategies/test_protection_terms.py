"""Terms of encryption and of masks, as a job resolves to them."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.encryption.encryption_terms import parameters_of
from fedbus.encryption.parameters import choose_parameters
from fedbus.jobs import JobFile, parse
from fedbus.jobs.parser import canonical
from fedbus.strategies.chosen_parts import StrategyError
from fedbus.strategies.encryption_key_faults import UNKNOWN_KEY, EncryptionKeyFacts
from fedbus.strategies.protection_terms import MOST_EXAMPLES, first_exponent
from fedbus.strategies.resolution import resolve_job
from fedbus.wire.encryption import FixedPoint
from fedbus.wire.secure_aggregation import SecureAggregationTerms
from fedbus.wire.strategies import Strategy

KEY = EncryptionKeyFacts(id="ab" * 32, parameters=choose_parameters(agents=100))
FIXED: dict[str, Any] = {"noise_multiplier": 1, "clipping_norm": 1, "num_sampled_clients": 5}
ADAPTIVE: dict[str, Any] = {"num_sampled_clients": 50}


def job(mechanisms: dict[str, Any], **keys: object) -> JobFile:
    """Return a job with these keys of `privacy-mechanisms`."""
    tree = {"model_name": "m", "num_rounds": 1, "privacy-mechanisms": mechanisms, **keys}
    return JobFile.model_validate(tree)


def resolved(mechanisms: dict[str, Any], **keys: object) -> Strategy:
    """Return the strategy of a job with a controller that has a key."""
    return resolve_job(job(mechanisms, **keys), encryption=KEY)


def refusal(mechanisms: dict[str, Any], key: EncryptionKeyFacts | None) -> list[str]:
    """Return why a job cannot be resolved."""
    with pytest.raises(StrategyError) as caught:
        resolve_job(job(mechanisms), encryption=key)
    return [str(fault) for fault in caught.value.faults]


def test_a_job_is_encrypted_with_the_key_of_its_controller() -> None:
    """Bits, agents and range are its own; the terms verify themselves."""
    keys = {"bits": 9, "max_examples": 500, "first_range": 0.3, "adaptive_ranges": False}
    terms = resolved({"homomorphic": keys}, round={"agents": 40}).encryption
    assert terms is not None
    assert (terms.scheme, terms.key, terms.poly_modulus_degree) == ("bfv", KEY.id, 4096)
    assert terms.fixed_point == FixedPoint(
        bits=9, max_agents=40, max_examples=500, first_range=-1, adaptive=False
    )
    assert parameters_of(terms) == KEY.parameters


def test_without_a_controller_the_parameters_are_those_that_suffice() -> None:
    """So that a job file can be checked before there is a key."""
    seed = {
        "poly_modulus_degree": 8192,
        "coeff_mod_bit_sizes": [60, 40, 40],
        "scale_bits": 40,
    }
    found = resolve_job(job({"homomorphic": seed}), encryption=UNKNOWN_KEY).encryption
    assert found is not None
    assert (found.scheme, found.coeff_mod_bit_sizes) == ("ckks", (60, 40, 40))
    assert (found.scale_bits, found.fields) == (40, 1)
    default = resolve_job(job({"homomorphic": {"key": "0123abcd"}}), encryption=UNKNOWN_KEY)
    assert default.encryption is not None
    assert (default.encryption.scheme, default.encryption.fixed_point.bits) == ("bfv", 11)


def test_masks_have_the_terms_of_the_job() -> None:
    """Whatever the job leaves out has its default."""
    assert resolved({"secure-aggregation": {}}, round={"agents": 5}).masking == (
        SecureAggregationTerms(
            fixed_point=FixedPoint(
                bits=16, max_agents=5, max_examples=MOST_EXAMPLES, first_range=0, adaptive=True
            ),
            neighbours=40,
            threshold=0.67,
            step_seconds=10.0,
        )
    )
    assert resolved({}).fixed_point is None


@pytest.mark.parametrize("protection", ["homomorphic", "secure-aggregation"])
@pytest.mark.parametrize(
    "more",
    [
        {"privacy-mechanisms": {"dp-fixed": FIXED}},
        {"strategy": {"parameters": {"weighted": False}}},
        {"privacy-mechanisms": {"dp-sgd": {"noise_multiplier": 1, "least_examples": 9}}},
    ],
)
def test_all_agents_count_alike_where_updates_do(protection: str, more: dict[str, Any]) -> None:
    """The number of an agent's examples is then neither used nor sent."""
    mechanisms = {protection: {}, **more.get("privacy-mechanisms", {})}
    rest = {key: value for key, value in more.items() if key != "privacy-mechanisms"}
    found = resolved(mechanisms, round={"agents": 5}, **rest).fixed_point
    assert found is not None
    assert found.max_examples == 1


@pytest.mark.parametrize(
    ("protection", "asked", "noise", "clipping"),
    [
        (None, None, "collector", "enforced"),
        (None, False, "agents", "trusted"),
        ("homomorphic", None, "agents", "trusted"),
        ("homomorphic", False, "agents", "trusted"),
        ("secure-aggregation", None, "agents", "trusted"),
        ("secure-aggregation", True, "collector", "trusted"),
    ],
)
@pytest.mark.parametrize(("name", "options"), [("dp-fixed", FIXED), ("dp-adaptive", ADAPTIVE)])
def test_agents_add_the_noise_to_hidden_updates(  # noqa: PLR0917 - a table with two options
    name: str,
    options: dict[str, Any],
    protection: str | None,
    asked: object,
    noise: str,
    clipping: str,
) -> None:
    """Unless the job says otherwise; and the part is told the same."""
    mechanisms: dict[str, Any] = {name: {**options, "server_side_noising": asked}}
    if protection is not None:
        mechanisms[protection] = {}
    found = resolved(mechanisms)
    assert found.privacy is not None
    assert (found.privacy.noise, found.privacy.clipping) == (noise, clipping)
    (part,) = found.update_transforms
    assert part.parameters["server_side_noising"] is (noise == "collector")


@pytest.mark.parametrize(
    ("mechanism", "given", "expected"),
    [
        ({"dp-fixed": FIXED}, 1.0, 2),  # 1 + 6 * 1 / √5 = 3.68
        ({"dp-fixed": FIXED}, 100.0, 7),
        ({"dp-fixed": {**FIXED, "server_side_noising": True}}, 1.0, 0),
        ({"dp-adaptive": ADAPTIVE}, 0.01, -2),  # 0.1 + 6 * 1.02 * 0.1 / √50 = 0.187
        ({"dp-adaptive": {**ADAPTIVE, "clip_count_stddev": 0.501}}, 0.01, 1),
        ({"ldp-gaussian": FIXED}, 0.01, -6),
        ({"dp-banded": {**FIXED, "min_separation": 1, "max_participations": 1}}, 0.01, -6),
        ({}, 0.01, -6),
    ],
)
def test_the_first_range_does_not_cut_off_the_noise_of_agents(
    mechanism: dict[str, Any], given: float, expected: int
) -> None:
    """What is complete only in the sum must reach it whole: C and six deviations of one agent."""
    terms = resolved({"secure-aggregation": {"first_range": given}, **mechanism}).masking
    assert terms is not None
    assert terms.fixed_point.first_range == expected


def test_clipping_under_banded_noise_of_masked_updates_is_by_the_word_of_agents() -> None:
    """The collector adds its noise to the sum, and cannot measure single updates."""
    banded = {"dp-banded": {**FIXED, "min_separation": 1, "max_participations": 1}}
    for mechanisms, clipping in (
        (banded, "enforced"),
        ({**banded, "secure-aggregation": {}}, "trusted"),
    ):
        terms = resolved(mechanisms).privacy
        assert terms is not None
        assert (terms.noise, terms.clipping) == ("collector", clipping)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("fedadam", "fedavg"),
        ({"id": "fedavgm", "parameters": {"server_momentum": 0.9}}, "fedavg"),
        ({"id": "fedadam", "objective": "proximal"}, "fedavg"),
        ("fedprox", "fedprox"),
        ("faulttolerantfedavg", "faulttolerantfedavg"),
        ("mean", "mean"),
    ],
)
def test_encryption_leaves_a_mean_without_a_step_of_the_server(
    strategy: object, expected: str
) -> None:
    """As in aerOS; what agents add to their loss stays."""
    found = resolved({"homomorphic": {}}, strategy=strategy)
    assert (found.id, found.server_optimizer, found.state) == (expected, None, ())
    assert (found.objective is None) == ("prox" not in str(strategy))
    masked = resolved({"secure-aggregation": {}}, strategy=strategy)
    assert (masked.server_optimizer is None) == (masked.id == found.id)


def test_an_unknown_parameter_of_a_left_out_server_optimizer_is_still_refused() -> None:
    """Its known ones are warned of."""
    with pytest.raises(StrategyError, match="server_rate: unknown parameter"):
        resolved(
            {"homomorphic": {}},
            strategy={"id": "fedadam", "parameters": {"server_rate": 0.1}},
        )


NO_KEY = (
    "privacy-mechanisms.homomorphic: the controller has no encryption key, so no agent could "
    "encrypt an update; make a pair of keys with `fedbus keys generate FOLDER`, give its "
    "public.key to controllers, collectors and repository and its secret.key to agents, each as "
    "FEDBUS_ENCRYPTION_KEY; or choose secure-aggregation, which needs no key"
)


@pytest.mark.parametrize(
    ("written", "key", "expected"),
    [
        ({}, None, NO_KEY),
        (
            {"key": "0123abcd"},
            KEY,
            (
                "privacy-mechanisms.homomorphic.key: 0123abcd, but the controller's encryption key "
                "is abababababababab; leave it out, or start controllers, collectors, repository "
                "and agents with the other key"
            ),
        ),
        (
            {"scale_bits": 26},
            KEY,
            (
                "privacy-mechanisms.homomorphic.scheme: ckks, but the controller's encryption key "
                "has bfv; leave it out, or give the nodes a key of these parameters: `fedbus keys "
                "generate FOLDER --scheme ckks --scale-bits 26 --agents 2`"
            ),
        ),
        (
            {"scheme": "bfv", "poly_modulus_degree": 8192},
            KEY,
            (
                "privacy-mechanisms.homomorphic.poly_modulus_degree: 8192, but the controller's "
                "encryption key has 4096; leave it out, or give the nodes a key of these "
                "parameters: `fedbus keys generate FOLDER --scheme bfv --poly-modulus-degree 8192 "
                "--agents 2`"
            ),
        ),
        (
            {"scheme": "bfv", "coeff_mod_bit_sizes": [36, 36, 37]},
            KEY,
            (
                "privacy-mechanisms.homomorphic.coeff_mod_bit_sizes: [36, 36, 37], but the "
                "controller's encryption key has [54, 55]; leave it out, or give the nodes a key "
                "of these parameters: `fedbus keys generate FOLDER --scheme bfv "
                "--coeff-mod-bit-sizes 36,36,37 --agents 2`"
            ),
        ),
        (
            {"scheme": "ckks", "bits": 8},
            UNKNOWN_KEY,
            (
                "privacy-mechanisms.homomorphic.bits: 8, but ckks does not round numbers to bits; "
                "leave it out, or choose the scheme bfv"
            ),
        ),
        (
            {"poly_modulus_degree": 1024, "coeff_mod_bit_sizes": [60, 40, 40]},
            UNKNOWN_KEY,
            (
                "privacy-mechanisms.homomorphic: coeff_mod_bit_sizes [60, 40, 40] have 140 bits; "
                "with poly_modulus_degree 1024 at most 27 are as secure as 128 bits (Homomorphic "
                "Encryption Standard); use fewer bits or a greater degree"
            ),
        ),
    ],
)
def test_a_key_that_does_not_fit_is_refused(
    written: dict[str, Any], key: EncryptionKeyFacts | None, expected: str
) -> None:
    """With what would work."""
    assert refusal({"homomorphic": written}, key) == [expected]


def test_a_key_that_cannot_hold_the_sum_is_refused() -> None:
    """Of too many agents, or of numbers of too many bits: before any agent trains."""
    small = EncryptionKeyFacts(id="cd" * 32, parameters=choose_parameters(bits=11, agents=5))
    with pytest.raises(StrategyError, match="hold the sum of at most 100 agents"):
        resolve_job(job({"homomorphic": {}}, round={"agents": 101}), encryption=KEY)
    tight = choose_parameters(bits=4, agents=100, coeff_mod_bit_sizes=(36, 36))
    narrow = EncryptionKeyFacts(id="cd" * 32, parameters=tight)
    with pytest.raises(StrategyError, match="cannot hold the sum of 100 numbers of 24 bits"):
        resolve_job(job({"homomorphic": {"bits": 24}}, round={"agents": 100}), encryption=narrow)
    assert resolve_job(job({"homomorphic": {}}), encryption=small).encryption is not None


def test_a_part_of_an_id_names_the_key() -> None:
    """As `git` reads the beginning of a commit."""
    terms = resolved({"homomorphic": {"key": "abababab"}}).encryption
    assert terms is not None
    assert terms.key == KEY.id


@given(st.floats(1e-38, 1e38))
def test_the_first_range_is_the_least_power_of_two_above(first_range: float) -> None:
    """So no number that the job allows is clipped."""
    exponent = first_exponent(first_range)
    assert math.ldexp(1, exponent - 1) < first_range <= math.ldexp(1, exponent)
    assert -126 <= exponent <= 127


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "bits": st.integers(4, 24),
            "neighbours": st.integers(2, 999),
            "threshold": st.floats(0.5, 1, exclude_min=True),
            "max_examples": st.integers(1, 2**31 - 1),
            "first_range": st.floats(1e-38, 1e38),
            "adaptive_ranges": st.booleans(),
            "step_seconds": st.floats(0, 3600, exclude_min=True),
        },
    ),
    st.integers(3, 1000),
)
def test_what_the_schema_accepts_resolves_to_terms_of_a_message(
    options: dict[str, Any], agents: int
) -> None:
    """And to the same ones after a round trip through canonical JSON."""
    written = job({"secure-aggregation": options}, round={"agents": agents})
    found = resolve_job(written)
    assert found.masking is not None
    assert resolve_job(parse(canonical(written.named("a")))) == found
    assert json.loads(canonical(written.named("a")))["round"]["agents"] == agents
