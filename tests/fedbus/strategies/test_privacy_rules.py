"""Combinations of a privacy mechanism with a strategy or a training that cannot work."""

from dataclasses import replace
from typing import Any

import pytest

from fedbus.jobs import JobFile
from fedbus.strategies.combinations import strategy_faults
from fedbus.strategies.mechanism_rules import UNKNOWN_STEPS
from fedbus.strategies.privacy_rules import cohort_fault, first_round_fault
from fedbus.strategies.resolution import resolve_job

SGD: dict[str, Any] = {"dp-sgd": {"noise_multiplier": 1, "least_examples": 100}}
FIXED: dict[str, Any] = {"noise_multiplier": 1.1, "clipping_norm": 2, "num_sampled_clients": 20}


def job(mechanisms: dict[str, Any] = SGD, **keys: Any) -> JobFile:  # noqa: ANN401 - whatever a job holds
    """Return a job with these mechanisms."""
    tree = {"model_name": "m", "num_rounds": 1, "privacy-mechanisms": mechanisms, **keys}
    return JobFile.model_validate(tree)


def faults(mechanisms: dict[str, Any] = SGD, **keys: Any) -> list[str]:  # noqa: ANN401 - as above
    """Return the faults of a job's strategy."""
    return [str(fault) for fault in strategy_faults(job(mechanisms, **keys), ())]


@pytest.mark.parametrize("off", [False, "False", "no", 0, 0.0, "off"])
def test_poisson_sampling_with_noise_of_agents_is_refused(off: object) -> None:
    """However the job file spells that agents draw it: the resolved terms are judged."""
    mechanisms = {
        "dp-fixed": {**FIXED, "server_side_noising": off},
        "accounting": {"sampling": "poisson"},
    }
    assert faults(mechanisms, strategy={"id": "fedavg", "population": 100}) == [
        (
            "privacy-mechanisms.accounting.sampling: poisson, but agents add the noise: a round "
            "with few of them would have too little, or its ε does not depend on who else takes "
            "part; leave it out"
        )
    ]


def test_poisson_sampling_needs_a_mechanism_that_profits_and_a_population() -> None:
    """Without the one ε would not hold, and without the other there is no rate."""
    poisson = {"accounting": {"sampling": "poisson"}}
    banded = {"dp-banded": {**FIXED, "min_separation": 2, "max_participations": 2}}
    assert faults({**banded, **poisson}) == [
        (
            "privacy-mechanisms.accounting.sampling: poisson, but the ε of dp-banded does not "
            "become smaller by it: that of independent Gaussian noise of the collector does, as "
            "with dp-fixed and dp-adaptive; leave it out"
        )
    ]
    assert faults({"dp-fixed": FIXED, **poisson}) == [
        (
            "strategy.population: missing: Poisson sampling draws an agent with the probability "
            "num_sampled_clients / strategy.population; give the number of all agents that may "
            "take part in the job"
        )
    ]
    stated = {"strategy": {"id": "fedavg", "population": 100}}
    assert faults({"dp-fixed": FIXED, **poisson}, **stated) == []


def test_dp_sgd_works_with_the_usual_strategies() -> None:
    """And every update of it counts equally: the number of examples is not sent."""
    for strategy in ("fedavg", "fedprox", "fedadam", "fedmedian"):
        assert faults(strategy=strategy, round={"agents": 5}) == []
    resolved = resolve_job(job(strategy={"id": "fedavg", "population": 9}))
    assert resolved.aggregator.parameters == {"weighted": False}
    assert resolved.privacy is not None
    assert (resolved.privacy.population, resolved.update_transforms) == (9, ())


ROWS: list[tuple[dict[str, Any], str]] = [
    (
        {"strategy": {"id": "scaffold", "population": 9}},
        (
            "privacy-mechanisms.dp-sgd: it bounds and noises the differences of an update only, "
            "and scaffold adds 'control' to it; choose a strategy without such arrays, such as "
            "fedprox or fedadam"
        ),
    ),
    (
        {"strategy": "fednova"},
        (
            "privacy-mechanisms.dp-sgd: fednova needs 'steps' of each agent, exact figures of "
            "its data that have no noise, so agents do not send them; choose a strategy that "
            "needs none, such as fedavg, fedprox or fedadam"
        ),
    ),
    (
        {"strategy": "qfedavg"},
        (
            "privacy-mechanisms.dp-sgd: qfedavg needs 'base_loss' of each agent, exact figures "
            "of its data that have no noise, so agents do not send them; choose a strategy that "
            "needs none, such as fedavg, fedprox or fedadam"
        ),
    ),
    (
        {"strategy": {"id": "fedavg", "parameters": {"weighted": "True"}}},
        "strategy.parameters.weighted: true, but dp-sgd counts every update equally; leave it out",
    ),
    (
        {"strategy": {"aggregator": {"id": "mean", "parameters": {"weighted": True}}}},
        (
            "strategy.aggregator.parameters.weighted: true, but dp-sgd counts every update "
            "equally; leave it out"
        ),
    ),
    (
        {"strategy": {"id": "fedavg", "parameters": {"weighted": "perhaps"}}},
        "strategy.parameters.weighted: expected true or false, got 'perhaps'",
    ),
    (
        {"strategy": {"update_transforms": ["dp_fixed"]}},
        (
            "strategy.update_transforms[0]: dp-fixed is a privacy mechanism, which the "
            "accountant must know; choose it as privacy-mechanisms.dp-fixed"
        ),
    ),
    (
        {"plugins": {"trainer": "keras"}},
        (
            "plugins.trainer: 'keras', but only torch trains with dp-sgd; choose torch, or "
            "dp-fixed, which works with every trainer"
        ),
    ),
    (
        {"optimizer_config": {"optimizer": "lbfgs"}},
        (
            "optimizer_config.optimizer: 'lbfgs', but it computes the gradients of a batch many "
            "times, each of which would need noise; choose sgd or adam"
        ),
    ),
    (
        {"scheduler_config": {"scheduler": "reducelronplateau", "monitor": "loss"}},
        (
            "scheduler_config.scheduler: 'reducelronplateau', but it decides by metrics of the "
            "training data, which have no noise; choose one that counts steps, such as steplr"
        ),
    ),
]


def test_no_scheduler_of_several_may_decide_by_metrics() -> None:
    """Neither that of the warm-up, nor a part of a chain."""
    warmup = {"warmup_epochs": 2, "scheduler": "reducelronplateau"}
    (found,) = faults(warmup_config=warmup)
    assert found.startswith("warmup_config.scheduler: 'reducelronplateau', but it decides by metr")
    parts = [{"scheduler": "steplr", "step_size": 1}, {"scheduler": "earlystopping"}]
    (part,) = faults(scheduler_config={"scheduler": "chainedscheduler", "schedulers": parts})
    assert part.startswith("scheduler_config.schedulers[1].scheduler: 'earlystopping', but it deci")


def test_noise_is_not_computed_in_half_precision() -> None:
    """Agents would decline each task."""
    assert faults(round={"agents": 2, "precision": "mixed"}) == [
        "round.precision: 'mixed', but dp-sgd computes in full precision only; leave it out"
    ]


@pytest.mark.parametrize(("keys", "sentence"), ROWS)
def test_what_breaks_the_promise_is_refused(keys: dict[str, Any], sentence: str) -> None:
    """With the key, the reason and what would work."""
    assert faults(**keys) == [sentence]


@pytest.mark.parametrize("weighted", [False, "false"])
def test_equal_weights_may_be_stated(weighted: object) -> None:
    """They are what the mechanism needs."""
    parameters = {"weighted": weighted}
    assert faults(strategy={"id": "fedavg", "parameters": parameters}) == []
    assert faults(strategy={"aggregator": {"id": "mean", "parameters": parameters}}) == []


@pytest.mark.parametrize(
    ("trainers", "problem"),
    [
        (0, "20, but 0 agents that can train are known: "),
        (1, "20, but 1 agent that can train is known: "),
        (19, "20, but 19 agents that can train are known: "),
    ],
)
def test_a_cohort_of_more_agents_than_there_are_is_refused(trainers: int, problem: str) -> None:
    """A fixed denominator that is never reached would shrink every update."""
    fault = cohort_fault(job({"dp-fixed": FIXED}), trainers)
    assert fault is not None
    assert fault.key == "privacy-mechanisms.dp-fixed.num_sampled_clients"
    assert fault.problem == (
        f"{problem}each mean is divided by 20, so updates would count for less than they are"
    )
    hint = f"give {trainers} or less, or start more agents first" if trainers else "start agents"
    assert fault.hint == hint


def test_agents_that_may_not_take_part_again_need_others() -> None:
    """With fewer, a job would wait without end after its first rounds."""
    banded = {**FIXED, "min_separation": 9, "max_participations": 1}
    assert str(cohort_fault(job({"dp-banded": banded}), 179)) == (
        "privacy-mechanisms.dp-banded.min_separation: 9 rounds of 20 different agents need 180 "
        "agents, but 179 agents that can train are known; give 8 or less, or start more agents "
        "first"
    )
    assert cohort_fault(job({"dp-banded": banded}), 180) is None


def test_a_cohort_that_exists_is_not_refused() -> None:
    """Without a mechanism of its own number, a round waits for its agents, as any job's does."""
    assert cohort_fault(job({"dp-fixed": FIXED}), 20) is None
    assert cohort_fault(job(round={"agents": 9}), 2) is None
    assert cohort_fault(job({}), 2) is None


def test_banded_noise_has_no_more_rounds_than_one_message_can_tell() -> None:
    """A collector learns from it what all earlier noise was drawn from."""
    banded = {**FIXED, "min_separation": 9, "max_participations": 9999}
    keys: dict[str, Any] = {"round": {"agents": 20}}
    assert faults({"dp-banded": banded}, num_rounds=10_000, **keys) == []
    assert faults({"dp-banded": banded}, num_rounds=10_001, **keys) == [
        (
            "num_rounds: 10001, but with dp-banded each round draws the noise of all earlier ones "
            "again, at most 10000; give 10000 or less, or choose dp-fixed"
        )
    ]


def test_a_budget_below_one_round_is_left_to_those_who_compute_epsilon() -> None:
    """The controller, which checks strategies in its event loop, does not."""
    small = {"dp-fixed": FIXED, "accounting": {"target_epsilon": 1.0}}
    assert faults(small) == []
    terms = resolve_job(job(small)).privacy
    assert terms is not None
    fault = first_round_fault(terms)
    assert fault is not None
    assert fault.key == "privacy-mechanisms.accounting.target_epsilon"
    assert "the first round would give 3.93" in fault.problem
    assert first_round_fault(replace(terms, target_epsilon=None)) is None
    assert first_round_fault(replace(terms, target_epsilon=4.0)) is None
    assert first_round_fault(replace(terms, steps=UNKNOWN_STEPS)) is None
