"""Options of homomorphic encryption and secure aggregation, as aerOS and Flower write them too."""

from typing import Any

import pytest

from fedbus.jobs import parse
from fedbus.jobs.foreign_protection import FLOWER_PROTECTION_KEYS
from fedbus.jobs.parser import canonical
from fedbus.jobs.protection_options import Homomorphic, SecureAggregation
from tests.fedbus.jobs.written import job_with, sentences

AEROS: dict[str, Any] = {
    "scheme": "CKKS",
    "poly_modulus_degree": "8192",
    "coeff_mod_bit_sizes": ["60", 40, "40"],
    "scale_bits": "40",
}
CKKS = Homomorphic(
    scheme="ckks", poly_modulus_degree=8192, coeff_mod_bit_sizes=(60, 40, 40), scale_bits=40
)


def protections(**keys: object) -> bytes:
    """Write a job with these keys of `privacy-mechanisms`, `_` for `-`."""
    return job_with(privacy_mechanisms={k.replace("_", "-"): v for k, v in keys.items()})


@pytest.mark.parametrize(
    ("written", "expected", "scheme"),
    [
        ({}, Homomorphic(), None),
        (AEROS, CKKS, "ckks"),
        ({**AEROS, "coeff_mod_bit_sizes": "[60, 40, 40]"}, CKKS, "ckks"),
        ({"scale_bits": 26}, Homomorphic(scale_bits=26), "ckks"),
        ({"coeff_mod_bit_sizes": [54, 55]}, Homomorphic(coeff_mod_bit_sizes=(54, 55)), "ckks"),
        (
            {"scheme": "BFV", "coeff_mod_bit_sizes": [54, 55], "bits": "9", "key": "0123abcd"},
            Homomorphic(scheme="bfv", coeff_mod_bit_sizes=(54, 55), bits=9, key="0123abcd"),
            "bfv",
        ),
    ],
)
def test_homomorphic_encryption_is_read(
    written: dict[str, Any], expected: Homomorphic, scheme: str | None
) -> None:
    """Parameters without a scheme are those of CKKS, as in aerOS."""
    found = parse(protections(homomorphic=written))
    assert found.privacy_mechanisms.protection == expected
    assert expected.asked_scheme == scheme
    assert found.privacy_mechanisms.chosen is None
    assert not found.promises_nothing
    assert parse(canonical(found)) == found


FAULTS: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"homomorphic": {"poly_modulus_degree": 5000}},
        [
            (
                "privacy-mechanisms.homomorphic.poly_modulus_degree: expected a power of two, got "
                "5000; give 4096 or 8192"
            )
        ],
    ),
    (
        {"homomorphic": {"key": "0123ABCD"}},
        [
            (
                "privacy-mechanisms.homomorphic.key: expected 8 to 64 of the digits 0-9 and a-f, "
                "got '0123ABCD'"
            )
        ],
    ),
    (
        {"homomorphic": {"scheme": "tfhe", "bits": 3}},
        [
            "privacy-mechanisms.homomorphic.scheme: expected 'bfv' or 'ckks', got 'tfhe'",
            "privacy-mechanisms.homomorphic.bits: expected at least 4, got 3",
        ],
    ),
    (
        {"homomorphic": {"scheme": 3, "coeff_mod_bit_sizes": 60}},
        [
            "privacy-mechanisms.homomorphic.scheme: expected 'bfv' or 'ckks', got 3",
            "privacy-mechanisms.homomorphic.coeff_mod_bit_sizes: expected a list, got 60",
        ],
    ),
    (
        {"homomorphic": {}, "secure-aggregation": {}},
        [
            (
                "privacy-mechanisms.secure-aggregation: a job encrypts updates or masks them, and "
                "privacy-mechanisms.homomorphic is there; leave one of them out"
            )
        ],
    ),
    (
        {"secure-aggregation": {"threshold": 0.5, "neighbours": 1}},
        [
            "privacy-mechanisms.secure-aggregation.threshold: expected more than 0.5, got 0.5",
            "privacy-mechanisms.secure-aggregation.neighbours: expected at least 2, got 1",
        ],
    ),
    (
        {"secure-aggregation": {}, "accounting": {"delta": 1e-6}},
        [
            (
                "privacy-mechanisms.accounting: there is no privacy mechanism to account for; "
                "choose one beside it: dp-fixed, dp-adaptive, dp-banded, metric-privacy, "
                "ldp-laplace, ldp-gaussian, ldp-randomized-response, dp-sgd, mistnet; or leave it "
                "out"
            )
        ],
    ),
]


@pytest.mark.parametrize(("mechanisms", "expected"), FAULTS)
def test_options_that_cannot_be_used_are_refused(
    mechanisms: dict[str, Any], expected: list[str]
) -> None:
    """With the key and the bound."""
    assert sentences(job_with(privacy_mechanisms=mechanisms)) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"num_shares": 5, "reconstruction_threshold": 4}, {"neighbours": 4, "threshold": 0.8}),
        ({"num_shares": "3", "reconstruction_threshold": 0.6}, {"neighbours": 2, "threshold": 0.6}),
        ({"reconstruction_threshold": 1.0}, {"threshold": 1.0}),
        ({"clipping_range": 8.0, "quantization_range": 4194304}, {"first_range": 8.0, "bits": 22}),
        ({"max_weight": 1000.5, "timeout": 30}, {"max_examples": 1000, "step_seconds": 30.0}),
        ({"num_shares": None}, {}),
    ],
)
def test_words_of_flower_are_read_as_what_they_mean_here(
    written: dict[str, Any], expected: dict[str, Any]
) -> None:
    """A share of an agent stays with itself, so it has one neighbour less."""
    found = parse(protections(secure_aggregation=written)).privacy_mechanisms
    assert found.secure_aggregation == SecureAggregation(**expected)


FLOWER: list[tuple[dict[str, Any], str]] = [
    ({"modulus_range": 2**32}, ("modulus_range: it follows from bits and round.agents, so that no "
     "sum overflows; leave it out")),
    ({"num_shares": 0.5}, ("num_shares: 0.5, a share of an unknown number of agents; give "
     "neighbours and threshold")),
    ({"num_shares": 1.0}, ("num_shares: 1.0, a share of an unknown number of agents; give "
     "neighbours and threshold")),
    ({"reconstruction_threshold": 4}, ("reconstruction_threshold: 4, and num_shares does not say "
     "of how many shares; give neighbours and threshold")),
    ({"timeout": "soon"}, "timeout: expected a number above 0, got 'soon'"),
    ({"timeout": 0}, "timeout: expected a number above 0, got 0"),
    ({"num_shares": 2}, "num_shares: expected at least 2, got 1"),
    ({"quantization_range": 2**30}, "quantization_range: expected at most 24, got 30"),
    ({"timeout": 3, "step_seconds": 4}, ("timeout: 3.0, but privacy-mechanisms.secure-aggregation."
     "step_seconds says 4; give one of them")),
    ({"num_share": 3}, "num_share: unknown key"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "expected"), FLOWER)
def test_words_of_flower_without_a_meaning_here_are_refused(
    written: dict[str, Any], expected: str
) -> None:
    """Under the name that the file has."""
    (said,) = sentences(protections(secure_aggregation=written))
    assert said.startswith(f"privacy-mechanisms.secure-aggregation.{expected}")


def test_every_word_of_flower_is_tried() -> None:
    """A change that adds a word adds its case."""
    tried = {word for written, _ in FLOWER for word in written}
    assert set(FLOWER_PROTECTION_KEYS) - {"clipping_range", "max_weight"} <= tried


@pytest.mark.parametrize("mechanisms", [3, {"secure-aggregation": 3}, {"secure-aggregation": []}])
def test_what_is_no_object_is_left_to_the_schema(mechanisms: object) -> None:
    """It states the fault once."""
    (said,) = sentences(job_with(privacy_mechanisms=mechanisms))
    assert "expected an object, got" in said
