"""Combinations of encryption or masks with a job that cannot work: one sentence each."""

from typing import Any

import pytest

from fedbus.jobs import JobFile
from fedbus.strategies.combinations import strategy_faults
from fedbus.strategies.encryption_key_faults import UNKNOWN_KEY
from tests.plugin_package import Install

FIXED: dict[str, Any] = {"noise_multiplier": 1, "clipping_norm": 1, "num_sampled_clients": 5}
BANDED: dict[str, Any] = {**FIXED, "min_separation": 1, "max_participations": 1}
SGD: dict[str, Any] = {"noise_multiplier": 1, "least_examples": 100}
HE, SA = "privacy-mechanisms.homomorphic", "privacy-mechanisms.secure-aggregation"
HALVES = """
class Halve:
    def transform_combined(self, combined): return combined.update / 2

class Sign:
    facts = ("steps",)
    def transform_update(self, update, rng): return update
"""
ENTRIES = """
[fedbus.update_transforms]
halve = acme_halves:Halve
sign = acme_halves:Sign
"""


def faults(mechanisms: dict[str, Any], **keys: object) -> list[str]:
    """Return the faults of a job of five agents with these keys of `privacy-mechanisms`."""
    tree = {"model_name": "m", "num_rounds": 1, "round": {"agents": 5}, **keys}
    file = JobFile.model_validate({**tree, "privacy-mechanisms": mechanisms})
    return [str(fault) for fault in strategy_faults(file, ("all",), encryption=UNKNOWN_KEY)]


def reads(aggregator: str, key: str) -> str:
    """Return the sentence about an aggregator that must see updates."""
    return (
        f"{aggregator} must see each update, which {key} hides from the collector; choose the "
        f"aggregator mean, as fedavg and fedprox do, or leave {key} out"
    )


BOTH: list[tuple[dict[str, Any], str]] = [
    ({"strategy": "fedmedian"}, "strategy: median must see"),
    ({"strategy": {"aggregator": "krum"}}, "strategy.aggregator: krum must see"),
    ({"strategy": "fednova"}, "strategy: fednova must see"),
    (
        {"strategy": {"id": "scaffold", "population": 9}},
        (
            "KEY: it hides the differences of an update only, and scaffold adds 'control' to it, "
            "from which they can be computed; choose a strategy without such arrays, such as "
            "fedavg or fedprox"
        ),
    ),
    (
        {"strategy": {"id": "feddyn", "population": 9}},
        (
            "KEY: each agent of feddyn keeps arrays that must match the updates in the sum, and an "
            "agent does not know whether its hidden update is in it; choose a strategy without "
            "such arrays, such as fedavg or fedprox"
        ),
    ),
    (
        {"strategy": {"update_transforms": ["sign"]}},
        (
            "KEY: fedavg needs 'steps' of each agent, exact figures of its data, which agents do "
            "not send with hidden updates; choose a strategy that needs none, such as fedavg or "
            "fedprox"
        ),
    ),
    (
        {"transmitter": ["top-k", "zstandard"]},
        (
            "transmitter: given, but KEY sends all numbers of an update in bits that look random: "
            "none can be left out, and nothing makes them fewer; leave it out; KEY.bits makes "
            "updates smaller"
        ),
    ),
    ({"transmitter": "adaptive-sync"}, "transmitter: given, but KEY sends all numbers of"),
    ({"download": ["cast"]}, "download: given, but KEY sends all numbers of an update in bits"),
    (
        {"stopping_target": {"train_loss": 0.1}},
        (
            "stopping_target.train_loss: a metric of the agents' training data, which none of them "
            "sends with KEY; name loss, which evaluators measure on their own data"
        ),
    ),
    (
        {"mechanisms": {"metric-privacy": FIXED}},
        (
            "privacy-mechanisms.metric-privacy: its noise depends on how far the updates are "
            "apart, which the collector cannot see with KEY; choose dp-fixed, or leave KEY out"
        ),
    ),
    (
        {"mechanisms": {"mistnet": {"features": 4, "trainers": ["agent.a"]}}},
        (
            "privacy-mechanisms.mistnet: its agents send features, and one of them trains, which "
            "the collector cannot see with KEY; choose dp-fixed, or leave KEY out"
        ),
    ),
    (
        {"own": {"max_examples": 9}, "mechanisms": {"dp-fixed": FIXED}},
        "KEY.max_examples: 9, but dp-fixed counts every update equally; leave it out",
    ),
    (
        {"own": {"max_examples": 9}, "strategy": {"parameters": {"weighted": False}}},
        "KEY.max_examples: 9, but the strategy counts every update equally; leave it out",
    ),
]


@pytest.mark.parametrize("protection", ["homomorphic", "secure-aggregation"])
@pytest.mark.parametrize(("keys", "expected"), BOTH)
def test_what_needs_single_updates_is_refused(
    install: Install, protection: str, keys: dict[str, Any], expected: str
) -> None:
    """Whether they are encrypted or masked."""
    install("acme_halves", ENTRIES, HALVES)
    rest = {key: value for key, value in keys.items() if key not in {"mechanisms", "own"}}
    mechanisms = {protection: keys.get("own", {}), **keys.get("mechanisms", {})}
    said = expected.replace("KEY", f"privacy-mechanisms.{protection}")
    assert any(found.startswith(said) for found in faults(mechanisms, **rest)), said


@pytest.mark.parametrize("protection", ["homomorphic", "secure-aggregation"])
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"strategy": "fedprox"},
        {"transmitter": "simple"},
        {"mechanisms": {"dp-fixed": FIXED}},
        {"mechanisms": {"dp-adaptive": {"num_sampled_clients": 50}}, "round": {"agents": 50}},
        {"mechanisms": {"dp-sgd": SGD}},
        {"mechanisms": {"ldp-gaussian": FIXED}},
        {"own": {"max_examples": 1}, "strategy": {"parameters": {"weighted": False}}},
        {"stopping_target": {"accuracy": 0.9}, "energy": True},
    ],
)
def test_what_agents_do_by_themselves_works(protection: str, keys: dict[str, Any]) -> None:
    """The collector needs the sum only."""
    rest = {key: value for key, value in keys.items() if key not in {"mechanisms", "own"}}
    assert faults({protection: keys.get("own", {}), **keys.get("mechanisms", {})}, **rest) == []


READABLE: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {},
        {"strategy": {"server_optimizer": "adam"}},
        (
            "strategy.server_optimizer: 'adam', but the collector cannot read an encrypted sum to "
            "make a step with it; leave it out: the strategy is fedavg; or choose "
            "secure-aggregation in place of homomorphic"
        ),
    ),
    (
        {},
        {"strategy": {"update_transforms": ["halve"]}},
        (
            "strategy.update_transforms[0]: 'halve' changes the combined update, and the collector "
            "cannot read an encrypted sum; leave it out, or choose secure-aggregation in place of "
            "homomorphic"
        ),
    ),
    (
        {"dp-banded": BANDED},
        {},
        (
            "privacy-mechanisms.dp-banded: its noise is drawn by the collector, which cannot read "
            "an encrypted sum; choose dp-fixed, whose noise agents can add, or secure-aggregation "
            "in place of homomorphic"
        ),
    ),
    (
        {"dp-fixed": {**FIXED, "server_side_noising": True}},
        {},
        (
            "privacy-mechanisms.dp-fixed.server_side_noising: true, but the collector cannot read "
            "an encrypted sum to add noise to it; leave it out: each agent adds a share of the "
            "noise"
        ),
    ),
    (
        {},
        {"strategy": {"parameters": {"weighted": False, "divisor": 4}}},
        (
            "strategy.parameters.divisor: 4, but agents divide an encrypted sum by the number of "
            "its updates; leave it out"
        ),
    ),
]


@pytest.mark.parametrize(("mechanisms", "keys", "expected"), READABLE)
def test_what_needs_the_sum_works_with_masks_and_not_with_encryption(
    install: Install, mechanisms: dict[str, Any], keys: dict[str, Any], expected: str
) -> None:
    """A masked sum is readable."""
    install("acme_halves", ENTRIES, HALVES)
    assert faults({"homomorphic": {}, **mechanisms}, **keys) == [expected]
    assert faults({"secure-aggregation": {}, **mechanisms}, **keys) == []


@pytest.mark.parametrize(
    ("own", "round_", "expected"),
    [
        ({}, {"agents": 2}, f"round.agents: expected 3 to 1000 with {SA}, got 2"),
        ({}, {"agents": 1001}, f"round.agents: expected 3 to 1000 with {SA}, got 1001"),
        (
            {},
            {"agents": 10, "quorum": 6},
            (
                f"round.quorum: 6, but {SA} unmasks no sum of fewer than 7 of 10 agents (threshold "
                "0.67); give round.quorum of 7 to 10"
            ),
        ),
        (
            {"threshold": 0.9},
            {"agents": 10},
            (
                f"round.agents: 10, so a quorum of 8, but {SA} unmasks no sum of fewer than 9 of "
                "10 agents (threshold 0.9); give round.quorum of 9 to 10"
            ),
        ),
        (
            {"threshold": 0.51},
            {"agents": 4, "quorum": 2},
            (
                f"round.quorum: 2, but {SA} unmasks no sum of fewer than 3 of 4 agents (threshold "
                "0.51); give round.quorum of 3 to 4"
            ),
        ),
        (
            {"threshold": 0.6},
            {"agents": 100},
            (
                f"{SA}.threshold: 0.6, but in neighbourhoods of 41 among 100 agents a dishonest "
                "collector could have different sets unmasked at different places; give 0.66 or "
                "more, or neighbours of 99"
            ),
        ),
    ],
)
def test_a_masked_round_that_hides_no_agent_or_cannot_end_is_refused(
    own: dict[str, Any], round_: dict[str, int], expected: str
) -> None:
    """Before any agent makes a key."""
    assert faults({"secure-aggregation": own}, round=round_) == [expected]


@pytest.mark.parametrize(
    ("own", "agents"),
    [({}, 3), ({}, 1000), ({"threshold": 0.67}, 42), ({"threshold": 0.55}, 41),
     ({"neighbours": 99, "threshold": 0.6}, 100)],
)  # fmt: skip
def test_a_masked_round_of_enough_agents_works(own: dict[str, Any], agents: int) -> None:
    """With a complete graph, a bare majority is enough."""
    assert faults({"secure-aggregation": own}, round={"agents": agents}) == []


@pytest.mark.parametrize(
    ("own", "agents", "fault"),
    [
        ({"bits": 4}, 5, "the noise that each agent adds, 0.447"),
        ({"bits": 8}, 5, ""),
        ({"bits": 4, "adaptive_ranges": False}, 5, "steps of 0.571"),
        ({"bits": 8, "first_range": 1000}, 5, "steps of 8.06"),
        ({"bits": 24, "first_range": 1000}, 5, ""),
    ],
)
def test_steps_of_numbers_are_not_greater_than_the_noise_of_an_agent(
    own: dict[str, Any], agents: int, fault: str
) -> None:
    """Rounding would take the place of noise that ε is computed for."""
    mechanism = {"noise_multiplier": 1, "clipping_norm": 1, "num_sampled_clients": agents}
    found = faults({"secure-aggregation": own, "dp-fixed": mechanism})
    assert bool(found) == bool(fault)
    assert all(fault in each for each in found)


def test_ranges_of_encrypted_noise_follow_the_distance_from_the_anchor() -> None:
    """A range that stays would cut noise off sooner or later, and so would too few bits."""
    mechanism = {"dp-fixed": {"noise_multiplier": 1, "clipping_norm": 1, "num_sampled_clients": 5}}
    assert not faults({"homomorphic": {}, **mechanism})
    (fixed,) = faults({"homomorphic": {"adaptive_ranges": False}, **mechanism})
    assert "the distance from the anchor grows from round to round" in fixed
    (few,) = faults({"homomorphic": {"bits": 6}, **mechanism})
    assert "steps of 1.03, greater than the noise that each agent adds, 0.447" in few
    assert not faults({"secure-aggregation": {"bits": 6}, **mechanism})
    assert not faults({"homomorphic": {"scheme": "ckks"}, **mechanism})


@pytest.mark.parametrize("rate", [0.2, 0.81, 0.82])
def test_a_norm_grows_by_no_more_than_its_ranges_hold(rate: float) -> None:
    """The ranges of a round are known before its norm is."""
    mechanism = {"num_sampled_clients": 50, "clip_norm_lr": rate}
    found = faults({"secure-aggregation": {}, "dp-adaptive": mechanism})
    assert [each.partition(":")[0] for each in found] == (
        ["privacy-mechanisms.dp-adaptive.clip_norm_lr"] if rate > 0.815 else []
    )
    assert not faults(
        {"secure-aggregation": {}, "dp-adaptive": {**mechanism, "server_side_noising": True}}
    )


@pytest.mark.parametrize(
    ("round_", "expected"),
    [
        ({"agents": 5, "quorum": 2}, []),
        ({"agents": 1, "quorum": 1}, []),
        (
            {"agents": 5, "quorum": 1},
            [
                (
                    "round.quorum: 1, but the sum of one update hides nothing from who reads or "
                    "releases it, and 5 agents are asked; give 2 to 5"
                )
            ],
        ),
    ],
)
def test_an_encrypted_version_is_not_the_update_of_one_of_several_agents(
    round_: dict[str, int], expected: list[str]
) -> None:
    """Who asks one agent alone knows what a version shows."""
    assert faults({"homomorphic": {}}, round=round_) == expected
