"""Warnings about private jobs that are accepted: their ε as planned, and what makes it greater."""

import sys
from typing import Any

import pytest

from fedbus.jobs import JobFile
from fedbus.privacy.accounting import epsilon_of
from fedbus.privacy.ledger import planned_composition
from fedbus.strategies.privacy_terms import privacy_terms
from fedbus.strategies.privacy_warnings import privacy_warnings
from fedbus.wire.privacy import PrivacyTerms

FIXED: dict[str, Any] = {"noise_multiplier": 1.1, "clipping_norm": 2, "num_sampled_clients": 20}
BANDED: dict[str, Any] = {**FIXED, "min_separation": 9, "max_participations": 2, "bands": 5}
DELTA: dict[str, Any] = {"accounting": {"delta": 1e-5}}
SGD: dict[str, Any] = {"noise_multiplier": 2.0, "least_examples": 100}


def job(mechanisms: dict[str, Any], **keys: Any) -> JobFile:  # noqa: ANN401 - whatever a job holds
    """Return a job of ten rounds with these mechanisms."""
    tree = {"model_name": "m", "num_rounds": 10, "privacy-mechanisms": mechanisms, **keys}
    return JobFile.model_validate(tree)


def terms_of(file: JobFile, aggregator: str = "mean") -> PrivacyTerms:
    """Return what a job promises."""
    terms = privacy_terms(file, aggregator)
    assert terms is not None
    return terms


def warnings(
    mechanisms: dict[str, Any],
    aggregator: str = "mean",
    **keys: Any,  # noqa: ANN401 - as above
) -> list[str]:
    """Return the warnings about a job with these mechanisms."""
    file = job(mechanisms, **keys)
    return [*privacy_warnings(file, terms_of(file, aggregator))]


ROWS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    (
        {"dp-fixed": FIXED, **DELTA},
        {},
        [
            (
                "privacy-mechanisms.dp-fixed: after 10 rounds ε is 15.8 for an agent that takes "
                "part in 10 of them (δ = 1e-05)"
            )
        ],
    ),
    (
        {"dp-fixed": FIXED},
        {"num_rounds": 1},
        [
            "privacy-mechanisms.accounting.delta: none is given, so ε is computed for δ = 1e-05",
            (
                "privacy-mechanisms.dp-fixed: after 1 round ε is 3.93 for an agent that takes "
                "part in 1 of them (δ = 1e-05)"
            ),
        ],
    ),
    (
        {"dp-fixed": FIXED, "accounting": {"delta": 1e-5, "target_epsilon": 4}},
        {},
        [
            (
                "privacy-mechanisms.dp-fixed: after 10 rounds ε is 15.8 for an agent that takes "
                "part in 10 of them (δ = 1e-05); no round is run that would exceed "
                "target_epsilon 4"
            )
        ],
    ),
    (
        {"dp-fixed": {**FIXED, "server_side_noising": False}, **DELTA},
        {"num_rounds": 1},
        [
            (
                "privacy-mechanisms.dp-fixed: after 1 round ε is 3.93 for an agent that takes part "
                "in 1 of them, if all 20 agents of each round send an update (δ = 1e-05)"
            )
        ],
    ),
    (
        {"dp-banded": BANDED, **DELTA},
        {},
        ["privacy-mechanisms.dp-banded: after 10 rounds ε is 3.93 (δ = 1e-05)"],
    ),
    (
        {"metric-privacy": FIXED},
        {},
        [
            (
                "privacy-mechanisms.metric-privacy: it has no ε: what its noise hides depends on "
                "how far the updates are apart"
            )
        ],
    ),
    (
        {
            "ldp-randomized-response": {
                "epsilon": 1,
                "clipping_norm": 1,
                "num_sampled_clients": 3,
            },
            **DELTA,
        },
        {},
        [
            (
                "privacy-mechanisms.ldp-randomized-response.trained_numbers: none is given, so "
                "the job has no ε of use: it is that of one bit, times the number of bits that "
                "an agent sends"
            )
        ],
    ),
    (
        {"dp-sgd": SGD, **DELTA},
        {"round": {"agents": 3}},
        [
            (
                "privacy-mechanisms.dp-sgd: after 10 rounds ε is 3.96 for an example of an agent "
                "that takes part in 10 of them (δ = 1e-05)"
            )
        ],
    ),
]


@pytest.mark.parametrize(("mechanisms", "keys", "expected"), ROWS)
def test_the_reply_states_the_epsilon_of_the_whole_job(
    mechanisms: dict[str, Any], keys: dict[str, Any], expected: list[str]
) -> None:
    """For the agent with most, since a selector may choose one in every round."""
    assert warnings(mechanisms, **keys) == expected


def test_an_aggregator_that_is_no_mean_makes_epsilon_greater() -> None:
    """With 20 agents, the noise is worth a fortieth."""
    first, planned = warnings({"dp-fixed": FIXED, **DELTA}, "median")
    assert first == (
        "privacy-mechanisms.dp-fixed: one agent may change what this strategy's aggregator returns "
        "by twice the clipping norm, and not only by 1/20 of it as with mean, so ε is that of the "
        "noise multiplier 0.0275, not of 1.1; choose the aggregator mean for a smaller ε"
    )
    assert planned.startswith("privacy-mechanisms.dp-fixed: after 10 rounds ε is 7")
    assert len(warnings({"ldp-gaussian": FIXED, **DELTA}, "median")) == 1


def test_a_job_without_a_finite_epsilon_says_so() -> None:
    """Banded noise of a ledger that breaks its bands has none."""
    file = job({"dp-banded": BANDED, **DELTA})
    terms = terms_of(file)
    without = [*privacy_warnings(file, _broken(terms))]
    assert without == [
        "privacy-mechanisms.dp-banded: after 10 rounds there is no finite ε (δ = 1e-05)"
    ]


def _broken(terms: PrivacyTerms) -> PrivacyTerms:
    fields = {name: getattr(terms, name) for name in PrivacyTerms.__slots__}
    return PrivacyTerms(**{**fields, "bands": 10})


def test_without_the_accountant_nothing_is_said_about_epsilon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The repository, which decides, has it."""
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    odd = {**FIXED, "noise_multiplier": 1.2345}  # no other test computes its ε
    accounting = {"sampling": "poisson", "delta": 1e-5}
    assert warnings({"dp-fixed": odd, "accounting": accounting}, strategy={"population": 99}) == []


def test_the_figure_is_that_of_the_ledger() -> None:
    """Rounded to three digits, and never down."""
    file = job({"dp-fixed": FIXED, **DELTA})
    terms = terms_of(file)
    epsilon = epsilon_of(terms, planned_composition(terms, 10, 10))
    assert epsilon is not None
    assert 15.7 < epsilon <= 15.8


@pytest.mark.parametrize(("size", "warned"), [(99, False), (100, True), (512, True)])
def test_batches_of_all_examples_get_a_warning(size: int, warned: bool) -> None:
    """Each step then draws every example, and ε is that of noise alone."""
    said = warnings({"dp-sgd": SGD, **DELTA}, config=[{"batch_size": size}])
    whole = (
        f"privacy-mechanisms.dp-sgd: batch_size is {size}, not less than least_examples, 100, so "
        "each step uses all examples and chance makes ε no smaller; give a smaller batch_size"
    )
    assert (whole in said) is warned
