"""Keys of AI4OS, Plato and Sedna about privacy: each is read as what it means here, or refused."""

from typing import Any

import pytest

from fedbus.jobs import parse
from fedbus.jobs.privacy_choice import Accounting
from fedbus.jobs.privacy_options import DpFixed, DpSgd, MetricPrivacy
from tests.fedbus.jobs.written import job_with, sentences

AI4OS: dict[str, Any] = {"NOISE_MULT": "0.3", "CLIPPING_NORM": 1.5, "SAMPLED_CLIENTS": "4"}
FIXED: dict[str, Any] = {"noise_multiplier": 0.3, "clipping_norm": 1.5, "num_sampled_clients": 4}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"DP": "True", "METRIC_PRIVACY": "False"}, ("dp-fixed", DpFixed(**FIXED))),
        ({"METRIC_PRIVACY": True}, ("metric-privacy", MetricPrivacy(**FIXED))),
    ],
)
def test_the_flags_of_ai4os_choose_a_mechanism(flags: dict[str, Any], expected: object) -> None:
    """With its own names of the three numbers, as text or not."""
    found = parse(job_with(server_conf={**AI4OS, **flags}))
    assert found.privacy_mechanisms.chosen == expected
    assert found.round.agents == 4


def test_a_file_may_state_both_if_they_are_equal() -> None:
    """As of every foreign key."""
    conf = {**AI4OS, "DP": 1}
    found = parse(job_with(server_conf=conf, privacy_mechanisms={"dp-fixed": FIXED}))
    assert found.privacy_mechanisms.chosen == ("dp-fixed", DpFixed(**FIXED))
    other = {**FIXED, "clipping_norm": 2}
    assert sentences(job_with(server_conf=conf, privacy_mechanisms={"dp-fixed": other})) == [
        (
            "server_conf.CLIPPING_NORM: 1.5, but privacy-mechanisms.dp-fixed.clipping_norm says "
            "2; give one of them"
        )
    ]


SERVER: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"DP": "perhaps"},
        ["server_conf.DP: expected true or false, got 'perhaps'"],
    ),
    (
        {"NOISE_MULT": 1, "DP": False},
        [
            (
                "server_conf.NOISE_MULT: neither DP nor METRIC_PRIVACY is true, so there is no "
                "privacy mechanism; set one of them, or leave it out"
            )
        ],
    ),
    (
        {"DP": True, "METRIC_PRIVACY": True, **AI4OS},
        [
            (
                "server_conf.METRIC_PRIVACY: a job has one privacy mechanism, and "
                "privacy-mechanisms.dp-fixed is another; leave one of them out"
            )
        ],
    ),
    (
        {"DP": True, **AI4OS, "NOISE_MULT": 0},
        ["server_conf.NOISE_MULT: expected more than 0, got 0"],
    ),
    (
        {"NOISE": 3},
        [
            (
                "server_conf.NOISE: unknown key; its keys are num_rounds, round_timeout, "
                "CODE_CARBON, DP, METRIC_PRIVACY, NOISE_MULT, CLIPPING_NORM, SAMPLED_CLIENTS"
            )
        ],
    ),
]


@pytest.mark.parametrize(("conf", "expected"), SERVER)
def test_a_fault_names_the_key_as_it_was_written(conf: dict[str, Any], expected: list[str]) -> None:
    """The user finds it in the file."""
    assert sentences(job_with(server_conf=conf)) == expected


def test_a_quorum_of_another_system_is_a_share_of_the_mechanisms_cohort() -> None:
    """Not of two agents, the default without a mechanism."""
    conf = {"min_completion_rate_fit": 0.5}
    found = parse(
        job_with(
            strategy_conf=conf,
            privacy_mechanisms={"dp-fixed": {**FIXED, "num_sampled_clients": 20}},
        )
    )
    assert (found.round.agents, found.round.quorum) == (20, 10)


def test_the_trainer_of_plato_is_dp_sgd() -> None:
    """Its δ and its ε are those of the accounting here."""
    written = {
        "noise_multiplier": 1,
        "least_examples": 100,
        "dp_epsilon": "10",
        "dp_delta": "1e-5",
        "dp_max_grad_norm": 2.0,
    }
    found = parse(job_with(privacy_mechanisms={"dp-sgd": written})).privacy_mechanisms
    assert found.dp_sgd == DpSgd(noise_multiplier=1, max_grad_norm=2, least_examples=100)
    assert found.accounting == Accounting(delta=1e-5, target_epsilon=10)
    left_out = {**written, "dp_epsilon": None, "dp_delta": None}
    assert (
        parse(job_with(privacy_mechanisms={"dp-sgd": left_out})).privacy_mechanisms.accounting
        is None
    )
    negative = job_with(privacy_mechanisms={"dp-sgd": {**written, "dp_delta": -1}})
    assert sentences(negative) == [
        "privacy-mechanisms.dp-sgd.dp_delta: expected more than 0, got -1"
    ]
    assert sentences(job_with(privacy_mechanisms={"dp-sgd": 3})) == [
        "privacy-mechanisms.dp-sgd: expected an object, got 3"
    ]


MISSING = ["algorithm.features: missing", "algorithm.trainers: missing"]
ALGORITHMS: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"type": "fedavg"},
        [
            (
                "algorithm.type: expected 'mistnet', got 'fedavg'; strategy chooses how updates "
                "become a version"
            )
        ],
    ),
    (
        {"type": "mistnet", "layers": 3},
        [
            (
                "algorithm.layers: unknown key; its keys are type, cut_layer, epsilon, features, "
                "trainers"
            ),
            *MISSING,
        ],
    ),
    (
        {"type": "mistnet", "epsilon": 0},
        ["algorithm.epsilon: expected more than 0, got 0", *MISSING],
    ),
]


@pytest.mark.parametrize(("algorithm", "expected"), ALGORITHMS)
def test_the_algorithm_of_sedna_is_mistnet(algorithm: dict[str, Any], expected: list[str]) -> None:
    """Another one is a strategy here."""
    assert sentences(job_with(algorithm=algorithm)) == expected


def test_sednas_algorithm_with_the_two_keys_that_it_lacks_is_complete() -> None:
    """They may stand beside its own."""
    written = {"type": "MistNet", "cut_layer": 2, "features": 8, "trainers": ["agent.big"]}
    found = parse(job_with(algorithm=written)).privacy_mechanisms.mistnet
    assert found is not None
    assert (found.cut_layer, found.epsilon, found.features) == (2, 100.0, 8)


def test_an_algorithm_without_keys_is_left_out() -> None:
    """As null."""
    assert parse(job_with(algorithm={})).privacy_mechanisms.chosen is None


def test_what_is_no_object_of_mechanisms_is_left_to_the_schema() -> None:
    """With the key as it is."""
    assert sentences(job_with(privacy_mechanisms=3, server_conf={"DP": True})) == [
        "privacy-mechanisms: expected an object, got 3"
    ]
