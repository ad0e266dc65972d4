"""Terms of privacy mechanisms: each with its release, its noise multiplier and its δ."""

from typing import Any

import pytest

from fedbus.jobs import JobFile
from fedbus.jobs.privacy_choice import MECHANISMS
from fedbus.strategies.mechanism_rules import MECHANISM_RULES, UNKNOWN_STEPS
from fedbus.strategies.privacy_terms import (
    DEFAULT_DELTA,
    privacy_terms,
)
from fedbus.wire.privacy import OF_EACH_AGENT, PrivacyTerms

FIXED: dict[str, Any] = {"noise_multiplier": 1.1, "clipping_norm": 2, "num_sampled_clients": 20}
EPSILON: dict[str, Any] = {"epsilon": 8, "clipping_norm": 1, "num_sampled_clients": 20}
BANDED: dict[str, Any] = {**FIXED, "min_separation": 9, "max_participations": 11, "bands": 5}


def job(mechanisms: dict[str, Any], **keys: Any) -> JobFile:  # noqa: ANN401 - whatever a job holds
    """Return a job with these mechanisms."""
    tree = {"model_name": "m", "num_rounds": 1, "privacy-mechanisms": mechanisms, **keys}
    return JobFile.model_validate(tree)


def terms(mechanisms: dict[str, Any], aggregator: str = "mean", **keys: Any) -> PrivacyTerms:  # noqa: ANN401 - as above
    """Return the terms of a job with these mechanisms."""
    found = privacy_terms(job(mechanisms, **keys), aggregator)
    assert found is not None
    return found


def test_every_mechanism_of_a_job_file_has_a_row_of_rules() -> None:
    """And no row is of an unknown one."""
    assert [*MECHANISM_RULES] == [*MECHANISMS]


def test_a_job_without_a_mechanism_promises_nothing() -> None:
    """Its strategy has no terms."""
    assert privacy_terms(job({}), "mean") is None


@pytest.mark.parametrize(
    ("mechanisms", "expected"),
    [
        ({"dp-fixed": FIXED}, {"release": "gaussian", "noise_multiplier": 1.1}),
        (
            {"dp-fixed": {**FIXED, "server_side_noising": False}},
            {
                "release": "gaussian",
                "noise_multiplier": 1.1,
                "noise": "agents",
                "clipping": "trusted",
            },
        ),
        (
            {"dp-adaptive": {"num_sampled_clients": 20}},
            {"release": "gaussian", "noise_multiplier": 1.0},
        ),
        (
            {"dp-banded": BANDED},
            {
                "release": "banded",
                "correlated": True,
                "noise_multiplier": 1.1,
                "bands": 5,
                "min_separation": 9,
                "max_participations": 11,
            },
        ),
        (
            {"metric-privacy": FIXED},
            {"release": "metric", "noise_multiplier": 0.0, "delta": 0.0},
        ),
        (
            {"ldp-laplace": EPSILON},
            {
                "release": "laplace",
                "relation": "replace-one",
                **OF_EACH_AGENT,
                "noise_multiplier": 0.125,
            },
        ),
        (
            {"ldp-gaussian": FIXED},
            {
                "release": "gaussian",
                "relation": "replace-one",
                **OF_EACH_AGENT,
                "noise_multiplier": 0.55,
            },
        ),
        (
            {"ldp-randomized-response": {**EPSILON, "epsilon": 1.0986122886681098}},
            {
                "release": "randomized-response",
                "relation": "replace-one",
                **OF_EACH_AGENT,
                "noise_multiplier": 0.5,
                "steps": UNKNOWN_STEPS,
            },
        ),
    ],
)
def test_each_mechanism_has_terms_of_its_own(
    mechanisms: dict[str, Any], expected: dict[str, Any]
) -> None:
    """The rest is that of the job: of randomized response with ε = ln 3, half of the bits are."""
    (name,) = mechanisms
    usual = {"mechanism": name, "delta": DEFAULT_DELTA, "cohort": 20}
    assert terms(mechanisms) == PrivacyTerms(**{**usual, **expected})


@pytest.mark.parametrize(
    ("training", "rate", "steps"),
    [
        ({"batch_size": 32, "epochs": 3}, 1 / 4, 12),
        ({"batch_size": 32, "epochs": 3, "steps_per_epoch": 2}, 1 / 4, 6),
        ({"batch_size": 32, "epochs": 3, "steps_per_epoch": 9}, 1 / 4, 12),
        ({"batch_size": 500}, 1.0, 1),
    ],
)
def test_dp_sgd_is_accounted_for_an_agent_with_the_fewest_examples(
    training: dict[str, Any], rate: float, steps: int
) -> None:
    """100 examples in batches of 32 are four steps with the rate 1/4 in each epoch."""
    mechanism = {"noise_multiplier": 0.7, "least_examples": 100}
    found = terms({"dp-sgd": mechanism}, config=[training], round={"agents": 7})
    assert found == PrivacyTerms(
        mechanism="dp-sgd",
        unit="example",
        relation="zero-out",
        release="dp-sgd",
        noise="agents",
        entered="with-plan",
        clipping="trusted",
        noise_multiplier=0.7,
        delta=DEFAULT_DELTA,
        cohort=7,
        rate=rate,
        steps=steps,
    )


def test_random_bits_are_those_of_the_models_numbers() -> None:
    """The job states how many; the part has no such parameter."""
    file = job({"ldp-randomized-response": {**EPSILON, "trained_numbers": 650}})
    found = privacy_terms(file, "mean")
    assert found is not None
    assert found.steps == 650
    mechanism = file.privacy_mechanisms.ldp_randomized_response
    assert mechanism is not None
    assert mechanism.part_parameters() == EPSILON


def test_mistnet_releases_features() -> None:
    """Once: a feature of an example costs half of the job's epsilon."""
    mistnet = {"epsilon": 4, "features": 128, "trainers": ["agent.big"]}
    found = terms({"mistnet": mistnet}, round={"agents": 3})
    assert (found.release, found.noise_multiplier, found.steps) == ("features", 0.5, 128)
    assert (found.unit, found.relation, found.noise) == ("example", "replace-one", "agents")


def test_poisson_sampling_draws_each_agent_with_one_probability() -> None:
    """The figures of accounting are those that the job gives."""
    accounting = {"sampling": "poisson", "delta": 1e-7, "target_epsilon": 3, "accountant": "rdp"}
    found = terms({"dp-fixed": FIXED, "accounting": accounting}, strategy={"population": 500})
    assert (found.sampling, found.relation, found.rate) == ("poisson", "add-or-remove-one", 0.04)
    assert (found.delta, found.target_epsilon, found.accountant) == (1e-7, 3, "rdp")
    assert (found.cohort, found.population) == (20, 500)


@pytest.mark.parametrize(
    ("mechanism", "keys", "delta"),
    [
        ({"dp-fixed": FIXED}, {}, 1e-5),
        ({"dp-fixed": FIXED}, {"strategy": {"population": 10_000}}, 1e-5),
        ({"dp-fixed": FIXED}, {"strategy": {"population": 10**6}}, 10**-6.6),
        ({"dp-sgd": {"noise_multiplier": 1, "least_examples": 10**6}}, {}, 10**-6.6),
    ],
)
def test_the_default_of_delta_is_below_the_inverse_of_the_number_of_units(
    mechanism: dict[str, Any], keys: dict[str, Any], delta: float
) -> None:
    """With δ = 1 / n, all data of one agent could become public."""
    assert terms(mechanism, **keys).delta == pytest.approx(delta, rel=1e-12)


@pytest.mark.parametrize(
    ("mechanisms", "multiplier"),
    [
        ({"dp-fixed": FIXED}, 1.1 / 40),
        ({"dp-adaptive": {"num_sampled_clients": 20}}, 1 / 40),
        ({"dp-banded": BANDED}, 1.1 / 40),
        ({"metric-privacy": FIXED}, 0),
        ({"ldp-gaussian": FIXED}, 0.55),
        ({"ldp-laplace": EPSILON}, 0.125),
    ],
)
def test_another_aggregator_may_change_by_twice_the_clipping_norm(
    mechanisms: dict[str, Any], multiplier: float
) -> None:
    """So the same noise is worth less; what agents noise themselves is worth the same."""
    assert terms(mechanisms, "median").noise_multiplier == pytest.approx(multiplier, rel=1e-15)


def test_the_part_gets_all_parameters() -> None:
    """So that another version of fedbus with other defaults does the same.

    But who draws the noise, which depends on the job's other keys.
    """
    adaptive = job({"dp-adaptive": {"num_sampled_clients": 30}}).privacy_mechanisms.dp_adaptive
    assert adaptive is not None
    assert adaptive.part_parameters() == {
        "num_sampled_clients": 30,
        "init_clip_norm": 0.1,
        "noise_multiplier": 1.0,
        "clip_count_stddev": 1.5,
        "clip_norm_target_quantile": 0.5,
        "clip_norm_lr": 0.2,
    }
    banded = job({"dp-banded": {**BANDED, "bands": None}}).privacy_mechanisms.dp_banded
    assert banded is not None
    assert banded.part_parameters() == {**BANDED, "bands": 9}
    fixed = job({"dp-fixed": FIXED}).privacy_mechanisms.dp_fixed
    assert fixed is not None
    assert fixed.part_parameters() == FIXED
