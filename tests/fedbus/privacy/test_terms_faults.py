"""Faults of privacy terms: Poisson sampling that ε does not cover, fields that contradict."""

from typing import Any

import pytest

from fedbus.jobs import JobFile
from fedbus.jobs.privacy_choice import MECHANISMS
from fedbus.privacy.terms_faults import terms_faults
from fedbus.strategies.privacy_terms import privacy_terms
from fedbus.wire.privacy import OF_EACH_AGENT
from tests.fedbus.privacy.privacy_examples import terms

NEEDED: dict[str, Any] = {"noise_multiplier": 1.0, "clipping_norm": 1.0, "num_sampled_clients": 20}
POISSON: dict[str, Any] = {"sampling": "poisson", "population": 20, "rate": 0.1}
OPTIONS: dict[str, dict[str, Any]] = {
    "dp-fixed": NEEDED,
    "dp-adaptive": {"num_sampled_clients": 20},
    "dp-banded": {**NEEDED, "min_separation": 2, "max_participations": 2},
    "metric-privacy": NEEDED,
    "ldp-laplace": {"epsilon": 1.0, "clipping_norm": 1.0, "num_sampled_clients": 20},
    "ldp-gaussian": NEEDED,
    "ldp-randomized-response": {"epsilon": 1.0, "clipping_norm": 1.0, "num_sampled_clients": 20},
    "dp-sgd": {"noise_multiplier": 1.0, "least_examples": 100},
    "mistnet": {"features": 1, "trainers": ["agent.sample"]},
}


def faults(**given: Any) -> list[str]:  # noqa: ANN401 - fields of any type
    """Return the faults of these terms."""
    return [f"{each.key}: {each.problem}" for each in terms_faults(terms(**given))]


@pytest.mark.parametrize("name", MECHANISMS)
def test_the_terms_of_every_mechanism_fit_together(name: str) -> None:
    """Also with noise of agents, where a mechanism can have it."""
    options = [OPTIONS[name]]
    if name in {"dp-fixed", "dp-adaptive"}:
        options.append({**OPTIONS[name], "server_side_noising": False})
    for each in options:
        tree = {"model_name": "m", "num_rounds": 1, "privacy-mechanisms": {name: each}}
        found = privacy_terms(JobFile.model_validate(tree), "mean")
        assert found is not None
        assert list(terms_faults(found)) == []
        assert (found.clipping == "trusted") is (found.noise == "agents")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"entered": "with-plan"}, "an entry is stored with the plan, and the collector draws"),
        ({"release": "laplace", "noise": "agents"}, "each agent protects itself, and its entry is"),
        ({"release": "banded"}, "banded noise is called not correlated"),
        ({"correlated": True}, "gaussian noise is called correlated"),
        (
            {**OF_EACH_AGENT, "release": "banded", "correlated": True},
            "agents draw the noise, and later rounds cannot draw it again",
        ),
        ({"noise": "agents"}, "agents draw the noise, and the collector measures updates that"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(given: dict[str, Any], problem: str) -> None:
    """An entry would come after the noise, or a collector lack what it has to draw again."""
    [fault] = faults(**given)
    assert fault.startswith(
        f"privacy-mechanisms: the terms of dp-fixed contradict each other: {problem}"
    )


def test_a_poisson_rate_is_that_of_the_cohort() -> None:
    """A smaller one would make ε too small; a greater one is safe."""
    assert faults(**POISSON) == []
    assert faults(**POISSON | {"rate": 0.2}) == []
    assert faults(**POISSON | {"rate": 0.05}) == [
        (
            "strategy.population: 20 agents, of which a round draws 2, are a sampling rate of 0.1, "
            "and ε is computed for 0.05"
        )
    ]
    [unknown] = faults(**POISSON | {"population": None})
    assert unknown.startswith("strategy.population: missing")
    [banded] = faults(**POISSON, release="banded", correlated=True)
    assert "the ε of dp-fixed does not become smaller by it" in banded
