"""Submission of private jobs: what the known agents make of them."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from fedbus.core.events import Connected
from fedbus.jobs import parse
from fedbus.strategies.resolution import resolve_job
from fedbus.wire.messages import StoreJob
from fedbus.wire.privacy import PrivacyTerms
from fedbus_controller import keys
from fedbus_controller.app import check_plugins
from fedbus_controller.core import ControllerCore
from fedbus_controller.requests.private_submissions import (
    dp_sgd_warnings,
    private_job_faults,
    private_job_warnings,
)
from tests.controller.harness import (
    BEAT,
    COLLECTOR,
    EVALUATOR,
    JOB,
    REPOSITORY,
    A,
    B,
    C,
    Harness,
    accepted,
    facts,
    selector,
)
from tests.controller.harness import job_file as plain_job_file

FIXED = {"noise_multiplier": 1.1, "clipping_norm": 1.0, "num_sampled_clients": 3}
POISSON = {"dp-fixed": FIXED, "accounting": {"sampling": "poisson"}}


def private_file(mechanisms: object = None, **changes: Any) -> bytes:  # noqa: ANN401 - any key
    """Write a job file with a privacy mechanism for three agents."""
    plain = {"round": {"deadline_seconds": 10}, "privacy-mechanisms": {"dp-fixed": FIXED}}
    chosen = {} if mechanisms is None else {"privacy-mechanisms": mechanisms}
    return plain_job_file(**(plain | chosen | changes))


def terms_of(file: bytes) -> PrivacyTerms:
    """Resolve the terms of a job file."""
    terms = resolve_job(parse(file)).privacy
    assert terms is not None
    return terms


def submit(file: bytes, *agents: str, **how: Any) -> Harness:  # noqa: ANN401 - as `Harness.submit`
    """Submit a job file to a leading controller that knows some agents."""
    harness = Harness()
    harness.lead()
    harness.introduce(*agents)
    harness.submit(file, **how)
    return harness


def test_more_agents_than_are_known_cannot_be_sampled() -> None:
    """The mean would be divided by a number that never comes."""
    answer = submit(private_file(), A, B).answer()
    assert not answer["accepted"]
    (fault,) = answer["faults"]
    assert fault["key"] == "privacy-mechanisms.dp-fixed.num_sampled_clients"
    assert fault["problem"].startswith("3, but 2 agents that can train are known")


def test_agents_that_are_offline_are_known() -> None:
    """They may come back; the reply says that the job waits."""
    harness = Harness()
    harness.lead()
    harness.introduce(A, B, C)
    harness.introduce(C, online=False)
    harness.submit(private_file())
    stored = harness.asked(keys.JobStorage(JOB), StoreJob)
    assert stored.strategy is not None
    assert stored.strategy.privacy == terms_of(private_file())


def test_a_request_that_was_delivered_before_is_not_judged_by_the_fleet() -> None:
    """Its job may be stored and run; a restarted controller knows no agents yet."""
    harness = submit(private_file(), redelivered=True)
    assert keys.JobStorage(JOB) in harness.asks


def test_a_job_without_a_mechanism_does_not_depend_on_the_known_agents() -> None:
    """It waits for them."""
    assert private_job_faults(parse(plain_job_file()), None, 0) == ()
    assert keys.JobStorage(JOB) in submit(plain_job_file()).asks


def test_poisson_sampling_has_no_other_selector() -> None:
    """A selector would learn and choose the agents."""
    file = private_file(POISSON, strategy={"population": 30}, plugins={"selector": "shy"})
    (fault,) = private_job_faults(parse(file), terms_of(file), 3)
    assert str(fault) == (
        "plugins.selector: 'shy', but Poisson sampling draws the agents itself, in secret; leave "
        "it out, or leave privacy-mechanisms.accounting.sampling out"
    )
    other = private_file(plugins={"selector": "shy"})
    assert private_job_faults(parse(other), terms_of(other), 3) == ()


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (12, "12 agents that can train are known: rounds have 1.2 agents"),
        (10, "10 agents that can train are known: rounds have 1 agent"),
        (1, "1 agent that can train is known: rounds have 0.1 agents"),
        (30, ""),
    ],
)
def test_another_population_than_the_known_agents_gets_a_warning(known: int, said: str) -> None:
    """Rounds have fewer or more agents than the file says."""
    file = private_file(POISSON, strategy={"population": 30})
    warnings = [*private_job_warnings(terms_of(file), known)]
    rest = "on average, not 3; ε holds all the same"
    assert warnings == ([f"strategy.population is 30, but {said} {rest}"] if said else [])


@pytest.mark.parametrize(("known", "warns"), [(1, False), (3, False), (4, True), (9, True)])
def test_a_delta_that_is_too_large_for_the_known_agents_gets_a_warning(
    known: int,
    warns: bool,
) -> None:
    """The file gives no population, and δ is below 1 / num_sampled_clients."""
    file = private_file({"dp-fixed": FIXED, "accounting": {"delta": 0.25}})
    warnings = [*private_job_warnings(terms_of(file), known)]
    said = f"delta is 0.25, and {known} agents that can train are known: with a probability of δ"
    assert [said in each for each in warnings] == [True] * warns


def test_a_target_of_a_private_job_needs_an_agent_that_only_evaluates() -> None:
    """Metrics of training do not exist, and agents that train do not evaluate it."""
    file = private_file(stopping_target={"accuracy": 0.9})
    for own, warned in (
        (facts("train", "evaluate"), True),
        (facts("evaluate"), False),
    ):
        harness = Harness()
        harness.lead()
        harness.introduce(A, B, C)
        harness.introduce_as(EVALUATOR, own)
        harness.submit(file)
        harness.receive(REPOSITORY, accepted(file=file))
        assert [each[:66] for each in harness.answer().get("warnings", [])] == (
            ["stopping_target accuracy: no agent that only evaluates is online, "] if warned else []
        )


def test_an_empty_mechanism_object_gets_a_warning() -> None:
    """The job is accepted: it asks for nothing."""
    file = plain_job_file(**{"privacy-mechanisms": {}})
    harness = submit(file, A, B, C)
    harness.receive(REPOSITORY, accepted(file=file))
    (warning,) = harness.answer()["warnings"]
    assert warning.startswith("privacy-mechanisms has no mechanism")


DP_SGD = {"dp-sgd": {"noise_multiplier": 2.0, "least_examples": 11}}


def test_a_job_that_no_known_agent_can_train_with_dp_sgd_waits_and_pays_nothing() -> None:
    """The reply says so, and so does the job, before any plan is stored."""
    file = private_file(DP_SGD)
    harness = submit(file, A, B, C)
    harness.introduce_key(COLLECTOR, None)
    strategy = resolve_job(parse(file))
    harness.receive(REPOSITORY, accepted(file=file, strategy=strategy))
    few = "fewer training examples than 11, the least_examples of dp-sgd"
    (warning,) = harness.answer()["warnings"]
    assert warning == (
        "privacy-mechanisms.dp-sgd: 0 of 3 known agents can train this job, and a round needs 2, "
        f"so it waits: 3 agents: {few}"
    )
    harness.wait(20.0)
    assert keys.PlanStorage(JOB) not in harness.asks
    assert harness.state_now().reason == (
        f"waiting for agents: 3 are online, 2 wanted, 2 needed; 3 cannot: {few}"
    )


@pytest.mark.parametrize(
    ("mechanisms", "examples", "warned"),
    [(DP_SGD, [], 0), (DP_SGD, [11, 11, 9], 0), (DP_SGD, [11, 9], 1), (None, [1, 1], 0)],
)
def test_a_quorum_of_able_agents_is_enough_for_dp_sgd(
    mechanisms: object, examples: list[int], warned: int
) -> None:
    """A fleet that is not known gets no warning: others say that no agent is online."""
    known = [replace(facts("train"), examples=number) for number in examples]
    assert len([*dp_sgd_warnings(parse(private_file(mechanisms)), known)]) == warned


@pytest.mark.parametrize(
    ("trainers", "wanted", "warned"),
    [
        (("tflite", "torch"), {}, True),
        (("tflite", "torch"), {"trainer": "torch"}, False),
        (("own", "torch"), {}, False),
    ],
)
def test_an_agent_may_choose_a_trainer_that_cannot_train_with_dp_sgd(
    trainers: tuple[str, ...], wanted: dict[str, str], warned: bool
) -> None:
    """A job that names torch leaves no choice."""
    known = [replace(facts("train", trainers=trainers), examples=11)] * 2
    said = (
        "plugins.trainer: none is given, and 2 known agents may choose another trainer than torch, "
        "which declines a job with dp-sgd; give 'torch'"
    )
    file = private_file(DP_SGD, plugins=wanted)
    assert [*dp_sgd_warnings(parse(file), known)] == [said] * warned


def submitted_with_a_budget() -> list[str]:
    """Submit a job with a budget to a controller with its own checks; return the warnings."""
    file = private_file({"dp-fixed": FIXED, "accounting": {"target_epsilon": 8.0}})
    harness = Harness()
    harness.core = ControllerCore(
        7, REPOSITORY, BEAT, selector, resolve_job, check_plugins, harness.utc
    )
    harness.handle(Connected())
    harness.lead()
    harness.introduce(A, B, C)
    harness.submit(file)
    harness.receive(REPOSITORY, accepted(file=file, warnings=("ε is 3",)))
    warnings: list[str] = harness.answer()["warnings"]
    return warnings


def test_a_controller_computes_no_epsilon() -> None:
    """It would send no heartbeat for seconds; the repository does, and states it in its answer."""
    script = (
        "import sys\n"
        "from tests.controller.requests.test_private_submissions import submitted_with_a_budget\n"
        "print(submitted_with_a_budget(), 'dp_accounting' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['ε is 3'] False"
