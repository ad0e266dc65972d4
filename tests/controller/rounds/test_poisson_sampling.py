"""Poisson sampling: who is drawn, how often, and what changes a draw."""

import hashlib
import hmac
import math
from dataclasses import replace

import pytest

from fedbus.wire.messages import OpenRound, TrainTask
from fedbus.wire.strategies import StrategyState
from fedbus_controller import keys
from fedbus_controller.rounds import cohort_planning
from fedbus_controller.rounds.poisson_sampling import poisson_cohort
from tests.controller.harness import COLLECTOR, JOB, REPOSITORY, A, B, C, Harness, failed, job_file
from tests.controller.private_jobs import (
    KEY,
    begin_privately,
    committed_privately,
    poisson_terms,
    private_job,
    spent,
)

SECRET = bytes(range(32))
AGENTS = [f"agent.{number}" for number in range(2000)]


def drawn(agents: list[str] = AGENTS, rate: float = 0.1, task: int = 1) -> tuple[str, ...]:
    """Draw the cohort of a task."""
    return poisson_cohort(agents, rate=rate, secret=SECRET, job=JOB, round=1, task=task)


def test_a_draw_compares_a_keyed_hash_with_the_rate() -> None:
    """As computed here from the definition."""
    expected = [
        agent
        for agent in sorted(AGENTS)
        if int.from_bytes(
            hmac.new(
                SECRET, f"poisson sampling\0{JOB}\x001\x001\0{agent}".encode(), hashlib.sha256
            ).digest()[:8]
        )
        / 2**64
        < 0.1
    ]
    assert drawn() == tuple(expected)


def test_each_agent_is_drawn_with_the_rate_and_independently() -> None:
    """Sizes of cohorts have mean and variance of the binomial distribution, within 5 deviations."""
    sizes = [len(drawn(task=task)) for task in range(1, 101)]
    mean = sum(sizes) / 100
    variance = sum((size - mean) ** 2 for size in sizes) / 99
    assert abs(mean - 200) < 5 * math.sqrt(180 / 100)
    assert abs(variance - 180) < 5 * 180 * math.sqrt(2 / 99)


def test_two_agents_are_drawn_together_as_often_as_chance_says() -> None:
    """One draw tells nothing about another one."""
    pairs = sum(len(drawn(AGENTS[:2], 0.5, task)) == 2 for task in range(1, 2001))
    assert abs(pairs - 500) < 5 * math.sqrt(2000 * 0.25 * 0.75)


def test_other_agents_do_not_change_a_draw() -> None:
    """Neither their names nor their number, order or repetition."""
    some = AGENTS[:50]
    assert drawn([*some[::-1], *some]) == tuple(sorted(set(drawn()) & set(some)))


def test_a_rate_of_one_draws_all() -> None:
    """And the smallest rate draws none of these."""
    assert drawn(rate=1.0) == tuple(sorted(AGENTS))
    assert drawn(rate=2.0**-64) == ()


def test_each_task_is_a_fresh_draw() -> None:
    """And a repeated one the same draw."""
    assert drawn(task=1) == drawn(task=1) != drawn(task=2)


def test_a_short_secret_is_refused() -> None:
    """Since the cohort might be guessed."""
    with pytest.raises(ValueError, match=r"^a secret of 31 bytes; 32 are needed$"):
        poisson_cohort([A], rate=1.0, secret=b"s" * 31, job=JOB, round=1, task=1)


def test_a_planned_cohort_is_drawn_in_secret() -> None:
    """By the job's secret, of all agents that are online; the round needs no update."""
    terms = poisson_terms(rate=0.5, cohort=15)
    agents = AGENTS[:30]
    harness = begin_privately(private_job(terms), *agents)
    plan = harness.planned
    assert plan.cohort == poisson_cohort(
        agents, rate=0.5, secret=b"s" * 32, job=JOB, round=1, task=1
    )
    assert (plan.quorum, plan.noise_key, plan.collector) == (0, KEY, COLLECTOR)


def test_an_empty_cohort_is_planned_and_committed() -> None:
    """A missing round would tell that no agent was drawn."""
    terms = poisson_terms(rate=2.0**-60)
    harness = begin_privately(private_job(terms))
    plan = harness.open_round()
    assert plan.cohort == ()
    assert harness.sent_to(COLLECTOR, OpenRound).plan == plan
    assert harness.sent(TrainTask) == []
    harness.receive(COLLECTOR, committed_privately(plan, terms, spent(terms, 1, 0)))
    assert (harness.planned.round, harness.planned.cohort) == (2, ())


def test_a_round_that_failed_is_drawn_again() -> None:
    """By its new task."""
    terms = poisson_terms(rate=0.5, cohort=15)
    agents = AGENTS[:30]
    harness = begin_privately(private_job(terms), *agents)
    first = harness.open_round()
    harness.receive(COLLECTOR, failed(first))
    harness.receive(REPOSITORY, private_job(terms, plan=first))
    harness.wait(2.0)
    again = harness.planned
    assert (again.round, again.task) == (1, 2)
    assert again.cohort != first.cohort
    assert again.cohort == poisson_cohort(
        agents, rate=0.5, secret=b"s" * 32, job=JOB, round=1, task=2
    )


def test_a_round_without_any_agent_online_is_not_planned() -> None:
    """Noise alone would cost ε; that no agent is online is public."""
    harness = Harness()
    harness.introduce_key(COLLECTOR, KEY)
    harness.begin(private_job(poisson_terms()), COLLECTOR)
    harness.introduce_key(COLLECTOR, KEY)
    harness.wait(1.0)
    assert harness.state_now().reason == ("waiting for agents: 0 are online, any number is enough")
    harness.introduce(A)
    harness.wait(1.0)
    assert keys.PlanStorage(JOB) in harness.asks


def test_another_selector_cannot_choose_a_secret_cohort() -> None:
    """The job ends, whatever was checked before."""
    file = job_file(plugins={"selector": "shy"})
    harness = begin_privately(private_job(poisson_terms(), file=file))
    assert harness.asks[keys.JobEnding(JOB)].message.reason == (
        "Poisson sampling draws the agents itself, but the job has the selector 'shy': leave "
        "plugins.selector out, or set the accounting's sampling to any"
    )


def test_more_drawn_agents_than_a_round_can_have_end_the_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some of them would have to be left out, and ε would be wrong."""
    monkeypatch.setattr(cohort_planning, "MAX_COHORT_AGENTS", 2)
    harness = begin_privately(private_job(poisson_terms(rate=1.0)))
    assert harness.asks[keys.JobEnding(JOB)].message.reason == (
        "Poisson sampling drew more than 2 agents, the most that a round can have: set "
        "num_sampled_clients lower"
    )


def test_more_agents_than_the_population_are_drawn_with_the_same_rate() -> None:
    """The ε of each agent depends on the rate and the noise, not on the number of agents."""
    harness = begin_privately(private_job(poisson_terms(rate=1.0, population=2)))
    assert harness.planned.cohort == (A, B, C)


def test_messages_and_logs_do_not_tell_the_size_of_a_secret_cohort() -> None:
    """Agents learn the number that is expected, and the numbers of the mechanism."""
    terms = poisson_terms(rate=1.0, cohort=7)
    state = StrategyState(rounds=1, numbers={"clipping_norm": 0.25})
    harness = begin_privately(private_job(terms))
    plan = harness.open_round()
    task = harness.sent_to(B, TrainTask)
    assert (task.members, task.privacy, task.numbers) == (7, terms, {})
    for event in ("round_decided", "round_planned"):
        (facts,) = harness.noted(event)
        assert facts.keys() == {"job", "round", "task", "at"}
    ended = committed_privately(plan, terms, spent(terms, 1))
    assert ended.record is not None
    harness.receive(COLLECTOR, replace(ended, record=replace(ended.record, state=state)))
    harness.open_round()
    assert harness.sent_to(C, TrainTask).numbers == {"clipping_norm": 0.25}
