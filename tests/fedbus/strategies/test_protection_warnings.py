"""Warnings about jobs that hide updates, or send fewer bytes, or measure energy."""

from typing import Any

import pytest

from fedbus.jobs import JobFile
from fedbus.strategies.encryption_key_faults import UNKNOWN_KEY
from fedbus.strategies.protection_warnings import protection_warnings
from fedbus.strategies.resolution import resolve_job

FIXED: dict[str, Any] = {"noise_multiplier": 1, "clipping_norm": 1, "num_sampled_clients": 5}
HE, SA = "privacy-mechanisms.homomorphic", "privacy-mechanisms.secure-aggregation"
ONE_KEY = (
    f"{HE}: all agents have the same secret key, so one agent and the collector together can read "
    "every update"
)
THRESHOLD = (
    f"{SA}.threshold: 4 of the 5 agents of a neighbourhood are needed to unmask a sum, so a round "
    "fails if more than 1 of one neighbourhood drop out, and a dishonest collector reads nothing "
    "but sums as long as at most 1 collude with it in one neighbourhood"
)
BY_WORD = (
    "privacy-mechanisms.dp-fixed: the collector cannot measure hidden updates, so the bound of "
    "what one agent changes is by the word of each agent"
)


def ranges(key: str) -> str:
    """Return the warning about ranges that can be read."""
    return (
        f"{key}.adaptive_ranges: each agent states in clear the power of two that each tensor of "
        "its update needs; false states none, and first_range must then suffice"
    )


def of_agents(mechanism: str, key: str) -> str:
    """Return the warning about noise of agents."""
    return (
        f"privacy-mechanisms.{mechanism}.server_side_noising: none is given, so it is false with "
        f"{key}: each agent adds a share of the noise, and an agent that adds none leaves the "
        "others with less"
    )


def warnings(mechanisms: dict[str, Any], **keys: object) -> list[str]:
    """Return the warnings about a job of five agents."""
    tree = {"model_name": "m", "num_rounds": 1, "round": {"agents": 5}, **keys}
    job = JobFile.model_validate({**tree, "privacy-mechanisms": mechanisms})
    return [*protection_warnings(job, resolve_job(job, encryption=UNKNOWN_KEY))]


FIXED_RANGES = {"adaptive_ranges": False}


@pytest.mark.parametrize(
    ("mechanisms", "keys", "expected"),
    [
        ({}, {"transmitter": ["top-k"], "strategy": "fedadam"}, []),
        ({"dp-fixed": FIXED}, {}, []),
        ({"homomorphic": {}}, {}, [ranges(HE), ONE_KEY]),
        ({"homomorphic": FIXED_RANGES}, {"strategy": "mean"}, [ONE_KEY]),
        ({"homomorphic": FIXED_RANGES}, {"round": {"agents": 5, "quorum": 3}}, [ONE_KEY]),
        (
            {"homomorphic": FIXED_RANGES},
            {"round": {"agents": 5, "quorum": 1}},
            [
                ONE_KEY,
                (
                    "round.quorum: 1, so a version may be the sum of 1 update, and each agent can "
                    "read versions: one of them then reads the update of another; give 3 or more"
                ),
            ],
        ),
        (
            {"homomorphic": FIXED_RANGES},
            {"strategy": "adam"},
            [
                (
                    "strategy: fedadam becomes fedavg, since the collector cannot read the "
                    "encrypted sum that a server optimizer needs; its parameters have no effect"
                ),
                ONE_KEY,
            ],
        ),
        ({"secure-aggregation": {}}, {"strategy": "fedadam"}, [ranges(SA), THRESHOLD]),
        (
            {"secure-aggregation": FIXED_RANGES},
            {"round": {"agents": 3}},
            [
                (
                    f"{SA}.threshold: 3 of the 3 agents of a neighbourhood are needed to unmask a "
                    "sum, so a round fails if more than 0 of one neighbourhood drop out, and a "
                    "dishonest collector reads nothing but sums as long as at most 1 collude with "
                    "it in one neighbourhood"
                )
            ],
        ),
        (
            {"secure-aggregation": {}, "dp-fixed": FIXED},
            {},
            [of_agents("dp-fixed", SA), BY_WORD, THRESHOLD],
        ),
        (
            {"homomorphic": {}, "dp-fixed": {**FIXED, "server_side_noising": False}},
            {},
            [BY_WORD, ONE_KEY],
        ),
        (
            {"homomorphic": {}, "dp-adaptive": {"num_sampled_clients": 5, "noise_multiplier": 0.4}},
            {},
            [
                of_agents("dp-adaptive", HE),
                BY_WORD.replace("dp-fixed", "dp-adaptive"),
                (
                    f"{HE}: each agent states in clear, with its share of the noise, whether its "
                    "update was clipped; dp-fixed needs no such figure"
                ),
                ONE_KEY,
            ],
        ),
        (
            {"secure-aggregation": {}, "dp-sgd": {"noise_multiplier": 1, "least_examples": 9}},
            {},
            [THRESHOLD],
        ),
        (
            {"secure-aggregation": FIXED_RANGES},
            {"round": {"agents": 100}},
            [
                (
                    f"{SA}.threshold: 28 of the 41 agents of a neighbourhood are needed to unmask "
                    "a sum, so a round fails if more than 13 of one neighbourhood drop out, and a "
                    "dishonest collector reads nothing but sums as long as none collude with it in "
                    "one neighbourhood"
                )
            ],
        ),
        (
            {},
            {"transmitter": "adaptive-sync", "config": [{"epochs": 3}]},
            ["config.epochs: 3 has no effect with adaptive-sync, whose sync_frequency is 10"],
        ),
        ({}, {"transmitter": "adaptive-sync", "config": [{"epochs": 10}]}, []),
        ({}, {"transmitter": "adaptive-sync", "config": [{"batch_size": 3}]}, []),
        ({}, {"energy": True}, []),
        (
            {"dp-fixed": FIXED},
            {"energy": True},
            [
                (
                    "energy: it depends on the data of each agent, so that of private, encrypted "
                    "and masked trainings is not measured"
                )
            ],
        ),
    ],
)
def test_a_job_is_warned_of_what_is_not_hidden(
    mechanisms: dict[str, Any], keys: dict[str, Any], expected: list[str]
) -> None:
    """In the reply to its file."""
    assert warnings(mechanisms, **keys) == expected
