"""Documents, logs and stop conditions of private jobs: they tell nothing about a single agent."""

from dataclasses import replace
from typing import Any

import pytest

from fedbus.jobs import JobFault
from fedbus.strategies.chosen_parts import StrategyError
from fedbus.wire.documents import AgentFacts, RoundState
from fedbus.wire.messages import Evaluated, EvaluateTask, JobLoaded, RoundEnded
from fedbus.wire.privacy import PrivacyTerms
from fedbus.wire.round_records import Plan, Refusal
from fedbus.wire.strategies import Strategy
from fedbus_controller import keys
from fedbus_controller.published_reasons import WITHHELD
from tests.controller.harness import (
    COLLECTOR,
    EVALUATOR,
    JOB,
    A,
    B,
    C,
    Harness,
    committed,
    facts,
    failed,
    job_file,
    loaded,
)
from tests.controller.private_jobs import (
    KEY,
    begin_privately,
    committed_privately,
    poisson_terms,
    private_job,
    spent,
    terms,
    took_part,
)

TARGET = {"accuracy": 0.9}


def committed_with_figures(plan: Plan, of: PrivacyTerms, **metrics: float) -> RoundEnded:
    """Build a report with what no document may have: metrics of training, a refusal's reason."""
    ended = committed_privately(plan, of, spent(of, plan.round, plan.round))
    assert ended.record is not None
    late = (Refusal(agent=C, reason="agent.c has 35 examples"),)
    return replace(ended, record=replace(ended.record, metrics=metrics, refusals=late))


def both_roles() -> AgentFacts:
    """Describe an agent that trains and evaluates."""
    return facts("train", "evaluate")


@pytest.mark.parametrize("of", [terms(), poisson_terms(rate=1.0)])
def test_a_round_document_has_no_agent_and_no_figure_of_one(of: PrivacyTerms) -> None:
    """It has what the job has spent."""
    harness = begin_privately(private_job(of))
    plan = harness.open_round()
    harness.receive(COLLECTOR, committed_with_figures(plan, of, train_loss=0.25, loss=0.5))
    (document,) = harness.sent(RoundState)
    assert document == RoundState(
        job=JOB,
        round=1,
        version=2,
        contributors=(),
        refusals={},
        examples=0,
        metrics={},
        seconds={} if of.sampling == "poisson" else {"collected": 1.0},
        began=document.began,
        at=document.at,
        privacy=spent(of, 1),
    )
    assert harness.state().metrics == {}
    assert harness.state().privacy == spent(of, 1)
    assert harness.noted("round_finished")[0]["metrics"] == {}


def test_the_number_of_agents_is_public_unless_it_is_secret() -> None:
    """A cohort of Poisson sampling has a secret size."""
    for of, number in ((terms(), 3), (poisson_terms(rate=1.0), 0)):
        harness = begin_privately(private_job(of))
        harness.open_round()
        assert harness.state().agents == number


def test_what_a_job_has_spent_is_in_its_state_from_the_beginning() -> None:
    """As it was loaded, also if the job has ended or its strategy cannot be used."""
    privacy = spent(terms(), 4)
    job = private_job(terms(), rounds=4, privacy=privacy, metrics={"train_loss": 1.0, "loss": 2.0})
    harness = begin_privately(job)
    assert harness.state_now().privacy == privacy
    assert harness.state_now().metrics == {"loss": 2.0}
    for ended in (replace(job, phase="finished"), replace(job, file=b"{}", strategy=None)):
        harness = begin_privately(ended)
        assert harness.state_now().privacy == privacy
        assert harness.state_now().metrics == {"loss": 2.0}


def test_silent_agents_of_a_private_job_are_counted_not_named() -> None:
    """And of a secret cohort not even counted."""
    secret = poisson_terms(rate=1.0)
    for of, seconds, reason in (
        (terms(), 4.0, "2 of 3 agents are offline or silent; round 1 needs 2"),
        (terms(), 8.0, "2 of 3 agents are lost; round 1 needs 2"),
        (secret, 8.0, ""),
    ):
        harness = begin_privately(private_job(of))
        harness.open_round()
        harness.silent.update((A, B))
        harness.wait(seconds)
        assert harness.state_now().reason == reason
    assert keys.DismissalRequest(JOB, A) in harness.asks


@pytest.mark.parametrize("of", [terms(), poisson_terms(rate=1.0)])
@pytest.mark.parametrize(
    "reason",
    [
        "2 of 3 updates, 3 are needed; 1 left out: has 9 rows",
        "the update of agent.a-1.x is too long",
        "krum needs 5 updates, 3 of 4 came",
        "a new sentence of a later release: anna has 35 examples",
    ],
)
def test_why_a_round_failed_is_told_without_agents(of: PrivacyTerms, reason: str) -> None:
    """The job's state and the log say where the collector's words are, and quote none of them."""
    harness = begin_privately(private_job(of))
    harness.receive(COLLECTOR, failed(harness.open_round(), reason))
    said = (
        f"the reason is in the log of {COLLECTOR}: round_failed; why an agent declined is in its "
        "own: `fedbus logs AGENT`"
    )
    assert harness.noted("round_failed") == [{"job": JOB, "round": 1, "reason": said}]
    assert harness.state().reason == f"round 1 failed: {said}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shy", "selector 'shy' chose 1 of 3 agents, 2 are needed"),
        ("broken", "selector 'broken': by zero"),
    ],
)
def test_what_a_selector_says_is_in_the_log_only(name: str, said: str) -> None:
    """A plug-in may quote what it was given, while the job waits and when it ends."""
    harness = begin_privately(private_job(terms(), file=job_file(plugins={"selector": name})))
    if name == "broken":
        assert harness.asks[keys.JobEnding(JOB)].message.reason == WITHHELD
    else:
        assert harness.state_now().reason == WITHHELD
    harness.wait(3.0)
    assert harness.noted("reason_withheld") == [{"job": JOB, "reason": said}]


@pytest.mark.parametrize("private", [False, True])
def test_a_private_job_that_cannot_be_used_any_more_says_so_without_quotes(
    monkeypatch: pytest.MonkeyPatch, private: bool
) -> None:
    """Its part may raise anything: the controller's log has that."""

    def resolve(_: object) -> Strategy:
        raise ZeroDivisionError("anna has 35 examples")

    monkeypatch.setattr("tests.controller.harness.resolve_job", resolve)
    job = loaded(strategy=None, privacy=spent(terms(), 1) if private else None)
    harness = Harness()
    harness.begin(job)
    unusable = "its job file cannot be used any more"
    quoted = f"{unusable}: anna has 35 examples"
    hidden = f"{unusable}; the reason is in the controller's log: job_unreadable"
    assert harness.asks[keys.JobEnding(JOB)].message.reason == (hidden if private else quoted)
    assert harness.state().reason == (hidden if private else quoted)
    assert harness.noted("job_unreadable") == [{"job": JOB, "reason": quoted}]


@pytest.mark.parametrize("private", [False, True])
def test_a_private_job_whose_strategy_loads_slowly_says_so_without_quotes(
    monkeypatch: pytest.MonkeyPatch, private: bool
) -> None:
    """As soon as the strategy is loaded the job goes on."""

    def resolve(_: object) -> Strategy:
        raise StrategyError([JobFault(key="strategy", problem="anna is slow")], timed_out=True)

    monkeypatch.setattr("tests.controller.harness.resolve_job", resolve)
    harness = Harness()
    harness.begin(loaded(strategy=None, privacy=spent(terms(), 1) if private else None))
    waiting = "waiting for its strategy to load"
    quoted = f"{waiting}: strategy: anna is slow"
    hidden = f"{waiting}; the reason is in the controller's log: job_put_off"
    assert harness.state().reason == (hidden if private else quoted)
    assert harness.noted("job_put_off") == [{"job": JOB, "reason": quoted}]


def targeted(**changes: Any) -> JobLoaded:  # noqa: ANN401 - any field
    """Build a private job that stops at an accuracy."""
    return private_job(terms(), file=job_file(num_rounds=9, stopping_target=TARGET), **changes)


def test_metrics_of_training_do_not_stop_a_private_job() -> None:
    """A job of the same file without a mechanism stops."""
    harness = begin_privately(targeted())
    plan = harness.open_round()
    harness.receive(COLLECTOR, committed_with_figures(plan, terms(), train_accuracy=0.95))
    assert keys.JobEnding(JOB) not in harness.asks
    assert harness.planned.round == 2


def test_metrics_of_evaluators_stop_a_private_job() -> None:
    """They are functions of data that no cohort has."""
    harness = begin_privately(targeted())
    harness.introduce(EVALUATOR)
    harness.receive(COLLECTOR, committed_with_figures(harness.open_round(), terms()))
    assert harness.evaluation().version.version == 2
    score = Evaluated(job=JOB, version=2, examples=5, metrics={"accuracy": 0.95})
    harness.receive(EVALUATOR, score)
    assert harness.sent(RoundState)[0].metrics == {"accuracy": 0.95}
    assert "accuracy 0.95" in harness.asks[keys.JobEnding(JOB)].message.reason


def test_an_agent_that_may_train_does_not_evaluate_a_private_job() -> None:
    """Neither if it has both roles, nor if it has trained in the job; the state says so."""
    entries = took_part(1, 1, EVALUATOR)
    privacy = spent(terms(), 1)
    harness = begin_privately(private_job(terms(), privacy=privacy, participations=entries))
    harness.introduce(EVALUATOR)
    harness.introduce_as("agent.both", both_roles())
    plan = harness.open_round()
    harness.receive(COLLECTOR, committed_privately(plan, terms(), spent(terms(), 2)))
    assert harness.sent(EvaluateTask) == []
    reason = (
        "versions are not evaluated: 2 agents that evaluate may also train in this private job, "
        "and the score of an agent tells about its data; let agents that do not train evaluate "
        "(FEDBUS_ROLES)"
    )
    assert harness.noted("agents_left_out") == [{"job": JOB, "reason": reason}]
    assert harness.state().reason == reason
    harness.open_round()
    assert harness.state().reason == reason


def test_one_agent_that_may_train_is_told_in_the_singular() -> None:
    """As soon as another agent evaluates, the sentence is gone."""
    harness = begin_privately(private_job(terms()))
    harness.introduce_as("agent.both", both_roles())
    plan = harness.open_round()
    harness.receive(COLLECTOR, committed_privately(plan, terms(), spent(terms(), 1)))
    assert "1 agent that evaluates may also train" in harness.state().reason
    second = harness.open_round()
    harness.introduce(EVALUATOR)
    harness.receive(COLLECTOR, committed_privately(second, terms(), spent(terms(), 2)))
    assert keys.EvaluationRequest(JOB, EVALUATOR) in harness.asks
    assert keys.EvaluationRequest(JOB, "agent.both") not in harness.asks
    assert harness.state_now().reason == ""


def test_agents_with_both_roles_evaluate_other_jobs() -> None:
    """Whose documents have the metrics of training as well."""
    harness = Harness()
    plan = harness.begin_round()
    harness.introduce_as("agent.both", both_roles())
    harness.receive(COLLECTOR, committed(plan, loss=0.5))
    assert keys.EvaluationRequest(JOB, "agent.both") in harness.asks
    assert harness.state_now().privacy is None


def test_no_state_and_no_log_of_a_private_job_names_an_agent() -> None:
    """Neither those that it waits for, nor those that it leaves out: they are counted."""
    for of, needs in ((terms(), "3 wanted, 2 needed"), (poisson_terms(), "any number is enough")):
        harness = Harness()
        harness.introduce_key(COLLECTOR, KEY)
        harness.introduce(A, B, C)
        harness.introduce(A, B, C, online=False)
        harness.silent.update((A, B, C))
        harness.begin(private_job(of), EVALUATOR)
        harness.wait(8.0)
        reason = f"waiting for agents: 0 are online, {needs}; offline: 3 agents"
        assert harness.state_now().reason == reason
        harness.silent.clear()
        harness.introduce_as(A, facts("train", classes=("cat", "dog")))
        harness.introduce_as(B, facts("train", classes=("cat", "dog")))
        harness.introduce_as(C, facts("train", classes=("dog", "cat")))
        harness.wait(1.0)
        (note,) = harness.noted("agents_left_out")
        assert note["reason"].startswith("an agent is left out: it numbers its classes dog, cat")
