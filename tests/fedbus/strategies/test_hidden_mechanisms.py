"""Each privacy mechanism with encrypted or masked updates: its terms, or why it is refused."""

from typing import Any, Final

import pytest

from fedbus.jobs import JobFile
from fedbus.jobs.privacy_choice import MECHANISMS
from fedbus.privacy.ledger_entries import noise_multiplier_of
from fedbus.strategies.combinations import strategy_faults
from fedbus.strategies.encryption_key_faults import UNKNOWN_KEY
from fedbus.strategies.resolution import resolve_job

AGENTS: Final = 20
HE, SA = "homomorphic", "secure-aggregation"
FIXED: dict[str, Any] = {
    "noise_multiplier": 1.5,
    "clipping_norm": 1.0,
    "num_sampled_clients": AGENTS,
}
EPSILON: dict[str, Any] = {"epsilon": 1.0, "clipping_norm": 1.0, "num_sampled_clients": AGENTS}
OPTIONS: dict[str, dict[str, Any]] = {
    "dp-fixed": FIXED,
    "dp-adaptive": {"noise_multiplier": 1.5, "num_sampled_clients": AGENTS},
    "dp-banded": {**FIXED, "min_separation": 1, "max_participations": 2},
    "metric-privacy": FIXED,
    "ldp-laplace": EPSILON,
    "ldp-gaussian": FIXED,
    "ldp-randomized-response": EPSILON,
    "dp-sgd": {"noise_multiplier": 1.5, "least_examples": 100},
    "mistnet": {"features": 1, "trainers": ["agent.sample"]},
}
CHOOSES: Final = ("dp-fixed", "dp-adaptive")
"""Mechanisms of which a job says who draws the noise."""

READS = "privacy-mechanisms.{name}: {why}, which the collector cannot see with {key}; choose "
SAMPLING = "privacy-mechanisms.accounting.sampling: poisson, but "
OF_AGENTS = f"{SAMPLING}agents add the noise: a round with few of them would have too little"
NO_GAIN = SAMPLING + "the ε of {name} does not become smaller by it"
COUNTED = (
    f"{SAMPLING}the number of updates in an encrypted version can be read, and its mean is divided "
    "by it: the agents that are drawn would not be secret; leave it out, and ε holds for any "
    "cohort; or leave homomorphic out"
)
NAMED = (
    f"{SAMPLING}agents of a masked round are told each other's names, and need two others: the "
    "agents that are drawn would not be secret; leave it out, and ε holds for any cohort; or leave "
    "secure-aggregation out"
)
NO_NOISE = (
    "privacy-mechanisms.{name}.server_side_noising: true, but the collector cannot read an "
    "encrypted sum to add noise to it; leave it out: each agent adds a share of the noise"
)
NO_BANDS = (
    "privacy-mechanisms.dp-banded: its noise is drawn by the collector, which cannot read an "
    "encrypted sum; choose dp-fixed, whose noise agents can add, or secure-aggregation"
)
APART = "its noise depends on how far the updates are apart"
FEATURES = "its agents send features, and one of them trains"

CASES: Final = [
    (protection, name, poisson, side)
    for protection in (HE, SA)
    for name in MECHANISMS
    for poisson in (False, True)
    for side in ((None, True, False) if name in CHOOSES else (None,))
]


def job_of(protection: str | None, name: str, side: bool | None, *, poisson: bool) -> JobFile:
    """A job of a cohort of 20, drawn from 100 agents."""
    own = OPTIONS[name] if side is None else {**OPTIONS[name], "server_side_noising": side}
    mechanisms = {name: own} if protection is None else {protection: {}, name: own}
    if poisson:
        mechanisms["accounting"] = {"sampling": "poisson"}
    tree = {
        "model_name": "m",
        "num_rounds": 1,
        "round": {"agents": AGENTS} if name == "dp-sgd" else {},
        "strategy": {"id": "fedavg", "population": 100},
        "privacy-mechanisms": mechanisms,
    }
    return JobFile.model_validate(tree)


def refusals(protection: str, name: str, side: bool | None, *, poisson: bool) -> list[str]:
    """How each sentence begins that refuses this combination; none: it is accepted."""
    said, draws = [], side is True or name in {"dp-banded", "metric-privacy"}
    if poisson:
        if not draws and name not in {"dp-banded", "metric-privacy"}:
            said.append(OF_AGENTS)
        elif name not in CHOOSES:
            said.append(NO_GAIN)
        else:
            said.append(COUNTED if protection == HE else NAMED)
    if name in {"metric-privacy", "mistnet"}:
        said.append(READS.replace("{why}", APART if name == "metric-privacy" else FEATURES))
    if protection == HE and side is True:
        said.append(NO_NOISE)
    if protection == HE and name == "dp-banded":
        said.append(NO_BANDS)
    key = f"privacy-mechanisms.{protection}"
    return [each.replace("{name}", name).replace("{key}", key) for each in said]


@pytest.mark.parametrize(("protection", "name", "poisson", "side"), CASES)
def test_each_combination_is_accepted_with_its_terms_or_refused_by_a_sentence(
    protection: str,
    name: str,
    poisson: bool,
    side: bool | None,
) -> None:
    """None is left open: an ε that is stated holds with hidden updates."""
    job = job_of(protection, name, side, poisson=poisson)
    found = [str(each) for each in strategy_faults(job, ("all",), encryption=UNKNOWN_KEY)]
    found = [each for each in found if not each.startswith("round.agents: ")]  # MistNet has 2
    expected = refusals(protection, name, side, poisson=poisson)
    assert len(found) == len(expected), found
    for said in expected:
        assert any(each.startswith(said) for each in found), (said, found)
    if expected:
        return
    strategy = resolve_job(job, ("all",), encryption=UNKNOWN_KEY)
    terms, fixed_point = strategy.privacy, strategy.fixed_point
    assert terms is not None
    assert fixed_point is not None
    at_collector = side is True or name == "dp-banded"
    assert terms.noise == ("collector" if at_collector else "agents")
    assert (terms.clipping, terms.sampling) == ("trusted", "any")
    assert fixed_point.max_examples == 1  # all updates count alike
    local = name.startswith("ldp-")
    assert terms.relation == ("replace-one" if local else "zero-out")
    divides = name in {*CHOOSES, "dp-banded"} and protection == SA
    expected_mean = {"weighted": False, "divisor": AGENTS} if divides else {"weighted": False}
    assert strategy.aggregator.parameters == expected_mean
    alone = resolve_job(job_of(None, name, side, poisson=False), ("all",)).privacy
    assert alone is not None
    assert terms.noise_multiplier == alone.noise_multiplier
    for came in (AGENTS, AGENTS // 4):
        shares = name in CHOOSES and not at_collector
        left = (came / AGENTS) ** 0.5 if shares else 1.0
        if terms.entered == "with-updates":
            assert noise_multiplier_of(terms, came) == pytest.approx(terms.noise_multiplier * left)
