"""Privacy mechanisms in a job file: what is read, and each contradiction with its sentence."""

from typing import Any

import pytest

from fedbus.jobs import parse, training_params_of
from fedbus.jobs.mechanism_cohort import with_cohort
from fedbus.jobs.privacy_choice import MECHANISMS
from fedbus.jobs.privacy_options import (
    DpAdaptive,
    DpBanded,
    DpFixed,
    LdpGaussian,
    LdpLaplace,
    LdpRandomizedResponse,
    MetricPrivacy,
)
from fedbus.jobs.schema import JobFile
from fedbus.training.params import DpSgdParams
from tests.fedbus.jobs.written import job_with, sentences

FIXED: dict[str, Any] = {"noise_multiplier": 1.1, "clipping_norm": 2, "num_sampled_clients": 20}
BANDED: dict[str, Any] = {**FIXED, "min_separation": 9, "max_participations": 11, "bands": 9}
SGD: dict[str, Any] = {"noise_multiplier": 1, "max_grad_norm": 2, "least_examples": 100}
METRIC: dict[str, Any] = {"metric-privacy": FIXED}
ADAPTIVE = "privacy-mechanisms.dp-adaptive"


def job(mechanisms: dict[str, Any], **keys: object) -> bytes:
    """Write a job with these mechanisms."""
    return job_with(privacy_mechanisms=mechanisms, **keys)


def read(mechanisms: dict[str, Any], **keys: object) -> JobFile:
    """Read a job with these mechanisms."""
    return parse(job(mechanisms, **keys))


def test_the_file_of_aeros_is_read_as_it_is() -> None:
    """Keys with hyphens, numbers and flags as text, null for what is left out."""
    written = {
        "num_sampled_clients": "30",
        "init_clip_norm": "0.1",
        "noise_multiplier": "1.0",
        "server_side_noising": "True",
        "clip_count_stddev": None,
        "clip_norm_target_quantile": "0.5",
        "clip_norm_lr": "0.2",
    }
    found = read({"dp-adaptive": written})
    assert found.privacy_mechanisms.dp_adaptive == DpAdaptive(
        num_sampled_clients=30, server_side_noising=True
    )
    assert (found.round.agents, found.round.quorum) == (30, 23)


@pytest.mark.parametrize(
    ("name", "written", "expected"),
    [
        ("dp-fixed", FIXED, DpFixed(**FIXED)),
        ("dp-banded", BANDED, DpBanded(**BANDED)),
        ("metric-privacy", FIXED, MetricPrivacy(**FIXED)),
        ("ldp-gaussian", FIXED, LdpGaussian(**FIXED)),
        (
            "ldp-laplace",
            {"epsilon": 8, "clipping_norm": 1, "num_sampled_clients": 5},
            LdpLaplace(epsilon=8, clipping_norm=1, num_sampled_clients=5),
        ),
        (
            "ldp-randomized-response",
            {"epsilon": 1, "clipping_norm": 0.01, "num_sampled_clients": 5},
            LdpRandomizedResponse(epsilon=1, clipping_norm=0.01, num_sampled_clients=5),
        ),
    ],
)
def test_a_mechanism_is_chosen_by_its_key(
    name: str, written: dict[str, Any], expected: object
) -> None:
    """Its cohort is that of the job's rounds."""
    found = read({name: written})
    assert found.privacy_mechanisms.chosen == (name, expected)
    assert found.round.agents == written["num_sampled_clients"]


def test_dp_sgd_is_a_training_parameter() -> None:
    """Trainers get it with the other ones; the cohort is that of round.agents."""
    found = read({"dp-sgd": SGD}, round={"agents": 3})
    expected = DpSgdParams(noise_multiplier=1, max_grad_norm=2, least_examples=100)
    assert training_params_of(found).dp_sgd == expected
    assert training_params_of(read({})).dp_sgd is None
    assert (found.round.agents, found.round.quorum) == (3, 3)


def test_a_file_without_a_mechanism_has_none() -> None:
    """As most have."""
    assert read({}).privacy_mechanisms.chosen is None
    assert read({"accounting": None}).round.agents == 2


def test_a_poisson_round_has_no_quorum() -> None:
    """Whatever came is committed, and the file may be sent again as it was understood."""
    poisson = {"dp-fixed": FIXED, "accounting": {"sampling": "poisson"}}
    found = read(poisson, strategy={"population": 100})
    assert (found.round.agents, found.round.quorum) == (20, 0)
    stated = read(poisson, strategy={"population": 100}, round={"agents": 20, "quorum": 0})
    assert stated == found


@pytest.mark.parametrize(
    "tree",
    [
        [],
        {"round": 3, "privacy-mechanisms": {"dp-fixed": FIXED}},
        {"privacy-mechanisms": 3},
        {"privacy-mechanisms": {"dp-fixed": {"num_sampled_clients": "many"}, "accounting": 1}},
        {"round": {"agents": 20}, "privacy-mechanisms": {"dp-fixed": FIXED}},
    ],
)
def test_what_has_a_fault_or_is_stated_is_left_as_it_is(tree: Any) -> None:  # noqa: ANN401 - JSON
    """The schema reports it."""
    assert with_cohort(tree) == tree


KEY = "privacy-mechanisms"
FAULTS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    (
        {"dp-fixed": {**FIXED, "noise_multiplier": 0}},
        {},
        [f"{KEY}.dp-fixed.noise_multiplier: expected more than 0, got 0"],
    ),
    (
        {"dp-fixed": {**FIXED, "noise_multiplier": "-1"}},
        {},
        [f"{KEY}.dp-fixed.noise_multiplier: expected more than 0, got '-1'"],
    ),
    (
        {"dp-fixed": {**FIXED, "noise_multiplier": "nan"}},
        {},
        [f"{KEY}.dp-fixed.noise_multiplier: expected a number, got 'nan'"],
    ),
    (
        {"dp-fixed": {**FIXED, "clipping_norm": 0}},
        {},
        [f"{KEY}.dp-fixed.clipping_norm: expected more than 0, got 0"],
    ),
    (
        {"dp-fixed": {**FIXED, "clipping_norm": "one"}},
        {},
        [f"{KEY}.dp-fixed.clipping_norm: expected a number, got 'one'"],
    ),
    (
        {"dp-fixed": {}},
        {},
        [
            f"{KEY}.dp-fixed.num_sampled_clients: missing",
            f"{KEY}.dp-fixed.noise_multiplier: missing",
            f"{KEY}.dp-fixed.clipping_norm: missing",
        ],
    ),
    (
        {"dp-fixed": FIXED, "ldp-gaussian": FIXED},
        {},
        [
            (
                f"{KEY}.ldp-gaussian: a job has one privacy mechanism, and {KEY}.dp-fixed is "
                "another; leave one of them out"
            )
        ],
    ),
    (
        {"accounting": {"delta": 1e-5}},
        {},
        [
            (
                f"{KEY}.accounting: there is no privacy mechanism to account for; choose one "
                f"beside it: {', '.join(MECHANISMS)}; or leave it out"
            )
        ],
    ),
    (
        {"dp-fixed": FIXED},
        {"round": {"agents": 10}},
        [
            (
                "round.agents: 10, but privacy-mechanisms.dp-fixed.num_sampled_clients says 20; "
                "leave it out"
            )
        ],
    ),
    (
        {"dp-fixed": FIXED},
        {"strategy": {"population": 19}},
        [f"{KEY}.dp-fixed.num_sampled_clients: expected at most 19 (strategy.population), got 20"],
    ),
    ({"dp-fixed": FIXED}, {"round": {"quorum": 0}}, ["round.quorum: expected at least 1, got 0"]),
    ({}, {"round": {"quorum": 0}}, ["round.quorum: expected at least 1, got 0"]),
    (
        {"dp-fixed": FIXED, "accounting": {"sampling": "poisson"}},
        {"round": {"quorum": 7}},
        [
            (
                "round.quorum: 7, but a round with Poisson sampling is committed with whatever "
                "number of updates came; leave it out"
            ),
        ],
    ),
    (
        {"dp-fixed": FIXED, "accounting": {"sampling": "fixed"}},
        {},
        [f"{KEY}.accounting.sampling: expected 'any' or 'poisson', got 'fixed'"],
    ),
    (
        {"dp-fixed": FIXED, "accounting": {"delta": 0, "target_epsilon": -1}},
        {},
        [
            f"{KEY}.accounting.delta: expected more than 0, got 0",
            f"{KEY}.accounting.target_epsilon: expected more than 0, got -1",
        ],
    ),
    (
        {"dp-fixed": FIXED, "accounting": {"delta": 0.001}},
        {"strategy": {"population": 1000}},
        [
            (
                f"{KEY}.accounting.delta: expected less than 0.001 (1 / strategy.population), got "
                "0.001: with a probability of δ all data of one may become public; give 0.0005 or "
                "less"
            )
        ],
    ),
    (
        {"dp-fixed": FIXED, "accounting": {"delta": 0.06}},
        {},
        [
            (
                f"{KEY}.accounting.delta: expected less than 0.05 (1 / num_sampled_clients), got "
                "0.06: with a probability of δ all data of one may become public; give 0.04 or less"
            )
        ],
    ),
    (
        {"dp-sgd": SGD, "accounting": {"delta": 0.02}},
        {},
        [
            (
                f"{KEY}.accounting.delta: expected less than 0.01 (1 / least_examples), got 0.02: "
                "with a probability of δ all data of one may become public; give 0.006 or less"
            )
        ],
    ),
    (
        {"dp-adaptive": {"num_sampled_clients": 10}},
        {},
        [
            (
                f"{ADAPTIVE}.noise_multiplier: expected less than 1 (num_sampled_clients / 10), "
                "got 1: the noise in the count of updates that are not clipped would leave none "
                "for the updates; give a smaller noise_multiplier, or a clip_count_stddev of more "
                "than 0.5"
            )
        ],
    ),
    (
        {
            "dp-adaptive": {
                "num_sampled_clients": 100,
                "noise_multiplier": 3,
                "clip_count_stddev": 1.5,
            }
        },
        {},
        [
            (
                f"{ADAPTIVE}.noise_multiplier: expected less than 3 (2 * clip_count_stddev), got "
                "3: the noise in the count of updates that are not clipped would leave none for "
                "the updates; give a smaller noise_multiplier, or a clip_count_stddev of more than "
                "1.5"
            )
        ],
    ),
    (
        {"dp-adaptive": {"num_sampled_clients": 100, "clip_norm_target_quantile": 1}},
        {},
        [f"{ADAPTIVE}.clip_norm_target_quantile: expected less than 1, got 1"],
    ),
    (
        {"dp-banded": {**BANDED, "bands": 10}},
        {},
        [
            (
                f"{KEY}.dp-banded.bands: expected at most 9 (min_separation), got 10: the noise of "
                "two rounds of one agent must not be correlated"
            )
        ],
    ),
    (
        {"dp-banded": BANDED},
        {"strategy": {"population": 179}},
        [
            (
                f"{KEY}.dp-banded.min_separation: 9 rounds of 20 different agents need 180 agents, "
                "but strategy.population is 179; give 8 or less"
            )
        ],
    ),
    (
        {"dp-banded": BANDED},
        {"strategy": {"population": 180}, "num_rounds": 100},
        [
            (
                f"{KEY}.dp-banded.max_participations: 180 agents (strategy.population) that each "
                "take part 11 times are enough for 99 rounds of 20, but num_rounds is 100; give 12 "
                "or more"
            )
        ],
    ),
    (
        {
            **METRIC,
            "accounting": {"target_epsilon": 4, "delta": 1e-6, "accountant": "rdp"},
        },
        {},
        [
            f"{KEY}.accounting.{name}: {value}, but metric privacy has no ε; leave it out, or "
            "choose dp-fixed"
            for name, value in (
                ("target_epsilon", "4"),
                ("delta", "1e-06"),
                ("accountant", "'rdp'"),
            )
        ],
    ),
    (
        {"dp-fixed": FIXED},
        {"stopping_target": {"train_accuracy": 0.9}, "plugins": {"trainer": "acme"}},
        [
            (
                "stopping_target.train_accuracy: a metric of the agents' training data, which none "
                "of them sends under dp-fixed; name accuracy, which evaluators measure on their "
                "own data"
            )
        ],
    ),
]


@pytest.mark.parametrize(("mechanisms", "keys", "expected"), FAULTS)
def test_a_contradiction_is_refused_with_its_reason(
    mechanisms: dict[str, Any], keys: dict[str, Any], expected: list[str]
) -> None:
    """And with what would work."""
    assert sentences(job(mechanisms, **keys)) == expected


def test_other_faults_do_not_hide_that_a_mechanism_contradicts_itself() -> None:
    """A person mends a file once; a mechanism with a fault is left out of further checks."""
    found = sentences(job({"dp-banded": {**BANDED, "bands": 10}}, num_rounds=0))
    assert [each.partition(":")[0] for each in found] == [
        "num_rounds",
        "privacy-mechanisms.dp-banded.bands",
    ]


def test_a_mechanism_object_without_a_mechanism_promises_nothing() -> None:
    """A file without the object does not ask for privacy, and needs no warning."""
    assert read({}).promises_nothing
    assert read({"dp-fixed": None}).promises_nothing
    assert not parse(job_with()).promises_nothing
    assert not read({"dp-fixed": FIXED}).promises_nothing
