"""Participations: which agents a private job's ledger still allows."""

from collections.abc import Iterable
from random import Random

from fedbus.privacy.ledger import Ledger
from fedbus.wire.privacy import LedgerEntry, PrivacyTerms
from fedbus.wire.round_records import Plan
from fedbus_controller import keys
from fedbus_controller.rounds.participations import Participations
from fedbus_repository.stores.privacy_rules import ordered_by_plan
from tests.controller.harness import COLLECTOR, JOB, A, B, C, job_file, version
from tests.controller.private_jobs import (
    begin_privately,
    committed_privately,
    poisson_terms,
    private_job,
    spent,
    terms,
    took_part,
)

D, E, F = "agent.d", "agent.e", "agent.f"
BANDED = terms(release="banded", correlated=True, bands=3, min_separation=3, max_participations=2)


def copy(of: PrivacyTerms = BANDED) -> Participations:
    """Make a copy of a ledger with five entries: A in 1 and 5, B in 3, C in 4."""
    entries = (*took_part(2, 5, A), *took_part(1, 3, B), *took_part(1, 4, C))
    return Participations(of, spent(of, 5, 2), entries)


def test_an_agent_is_free_after_the_least_separation() -> None:
    """B may take part in entry 6 again, C in entry 7; A has taken part twice."""
    checked = copy().check((A, B, C, D))
    assert (checked.allowed, checked.resting, checked.spent) == ([B, D], [C], [A])
    assert checked.reasons == (
        "; 1 agent took part within the last 2 steps (min_separation 3), the first is free after "
        "1 more step; 1 agent has taken part as often as max_participations allows"
    )


def test_several_agents_that_rest_or_are_spent_are_counted() -> None:
    """The next to be free decides after how many steps."""
    ledger = Participations(BANDED, spent(BANDED, 5, 2), took_part(2, 1, A, B))
    ledger.load(6, (*took_part(2, 1, A, B), *took_part(1, 5, C), *took_part(1, 6, D)))
    assert ledger.check((A, B, C, D)).reasons == (
        "; 2 agents took part within the last 2 steps (min_separation 3), the first is free after "
        "1 more step; 2 agents have taken part as often as max_participations allows"
    )


def test_without_limits_every_agent_may_take_part() -> None:
    """With a mechanism or without one."""
    for of in (None, terms()):
        ledger = Participations(of, spent(terms(), 1), took_part(9, 1, A))
        checked = ledger.check((A, B))
        assert (checked.allowed, checked.resting, checked.spent) == ([A, B], [], [])
        assert checked.reasons == ""
        assert not ledger.is_spent(A)


def test_a_job_without_entries_allows_every_agent() -> None:
    """Also in consecutive steps, if the terms say so."""
    ledger = Participations(terms(max_participations=1), None, ())
    assert ledger.check((A,)).allowed == [A]
    ledger.add((A,), spent(BANDED, 1))
    assert ledger.check((A, B)).allowed == [B]
    assert (ledger.took_part(A), ledger.took_part(B)) == (True, False)


def test_a_committed_round_is_an_entry() -> None:
    """The copy is outdated if the repository knows of more entries or participations."""
    ledger = copy()
    ledger.add((B, D), spent(BANDED, 6, 2))
    assert not ledger.outdated
    assert ledger.check((B, C, D, E)).allowed == [C, E]
    for after in (spent(BANDED, 8, 2), spent(BANDED, 6, 3), None):
        ledger = copy()
        ledger.add((B,), after)
        assert ledger.outdated
        ledger.load(8, took_part(2, 8, B))
        assert not ledger.outdated
        assert ledger.check((B, C, D)).allowed == [C, D]


def test_an_entry_that_was_loaded_counts_once() -> None:
    """A restarted controller loads the entry of the round that is then committed.

    Counted twice, its agents would never be free again, and a job with few others would not end.
    """
    ledger = copy()
    ledger.add((C, D), spent(BANDED, 5, 2))
    assert (ledger.outdated, ledger.took_part(D)) == (False, False)
    ledger.add((D,), spent(BANDED, 6, 2))
    assert not ledger.outdated
    assert ledger.check((B, C, D)).allowed == [B, C]


def test_what_a_message_has_no_room_for_stays_known() -> None:
    """Entries are never deleted; an answer that was sent earlier says nothing newer."""
    ledger = copy()
    ledger.load(6, (*took_part(1, 6, D), *took_part(1, 1, A)))
    assert ledger.check((A, B, C, D, E)).spent == [A]
    assert ledger.check((B, C, D, E)).allowed == [B, C, E]


def test_refusals_lead_to_a_plan_that_can_be_stored() -> None:
    """Even if a message has room for few of the agents that must not take part."""
    room, agents = 4, [f"agent.{number}" for number in range(200)]
    limited = terms(max_participations=1)
    truth = Ledger(
        LedgerEntry(job=JOB, round=n, task=n, agents=(one,), updates="a" * 64, noise_multiplier=1)
        for n, one in enumerate(agents[:-3], start=1)
    )
    entries = truth.participations()
    ledger = Participations(limited, spent(limited, len(entries)), entries[:room])
    for task in range(1, 100):
        rng = Random(task)
        plan = plan_asking(rng.sample(list(ledger.check(agents).allowed), 3), task)
        if truth.participation_fault(limited, plan.cohort) is None:
            break
        ledger.load(len(entries), ordered_by_plan(plan, limited, entries, len(entries))[:room])
    assert sorted(plan.cohort) == agents[-3:]


def plan_asking(cohort: Iterable[str], task: int) -> Plan:
    """Plan a round of these agents."""
    return Plan(
        job=JOB,
        round=1,
        task=task,
        base=version(1),
        collector=COLLECTOR,
        cohort=tuple(cohort),
        quorum=1,
        deadline_seconds=10,
    )


def test_agents_whose_epsilon_is_spent_are_not_asked_again() -> None:
    """All that have taken part as often as the one with most of the refused cohort."""
    of = terms(target_epsilon=4.0)
    ledger = Participations(of, spent(of, 5, 2), (*took_part(2, 5, A, C), *took_part(1, 3, B)))
    assert ledger.check((A, B, C, D)).allowed == [A, B, C, D]
    assert ledger.lower_limit((A, B))
    checked = ledger.check((A, B, C, D))
    assert (checked.allowed, checked.spent) == ([B, D], [A, C])
    assert checked.reasons == "; 2 agents have taken part as often as target_epsilon allows"
    assert ledger.lower_limit((B, D))
    assert ledger.check((A, B, C, D)).allowed == [D]


def test_where_epsilon_is_that_of_the_job_no_other_cohort_helps() -> None:
    """With banded noise, Poisson sampling, or agents that have not taken part at all."""
    for of in (BANDED, poisson_terms()):
        ledger = Participations(of, spent(of, 1), took_part(1, 1, A))
        assert not ledger.lower_limit((A,))
    assert not Participations(terms(), None, ()).lower_limit((A, B))
    assert not Participations(None, None, took_part(1, 1, A)).lower_limit((A,))


def test_a_cohort_has_no_agent_that_rests() -> None:
    """The job goes on with others, as many as it wants."""
    harness = begin_privately(private_job(BANDED), A, B, C, D, E, F)
    first = harness.open_round()
    assert (len(first.cohort), first.quorum) == (3, 2)
    harness.receive(COLLECTOR, committed_privately(first, BANDED, spent(BANDED, 1)))
    second = harness.open_round()
    assert not set(first.cohort) & set(second.cohort)
    harness.receive(COLLECTOR, committed_privately(second, BANDED, spent(BANDED, 2)))
    harness.wait(6.0)
    assert harness.state_now().reason == (
        "waiting for agents: 6 are online, 3 wanted, 2 needed; 6 agents took part within the last "
        "2 steps (min_separation 3), the first is free after 1 more step"
    )
    harness.introduce("agent.g", "agent.h")
    harness.wait(1.0)
    assert sorted(harness.planned.cohort) == ["agent.g", "agent.h"]


def test_a_restarted_controller_knows_who_took_part() -> None:
    """From the repository's ledger."""
    participations = (*took_part(1, 4, A, B), *took_part(1, 2, C, D, E))
    job = private_job(BANDED, privacy=spent(BANDED, 4), participations=participations)
    assert set(begin_privately(job, A, B, C, D, E).planned.cohort) == {C, D, E}


def test_a_job_ends_when_all_known_agents_are_spent() -> None:
    """It is finished: the promise of max_participations holds, and no other agent is known."""
    participations = (*took_part(2, 2, A, B), *took_part(1, 1, C))
    job = private_job(BANDED, privacy=spent(BANDED, 9, 2), participations=participations)
    harness = begin_privately(job)
    assert harness.state().reason == (
        "waiting for agents: 3 are online, 3 wanted, 2 needed; 2 agents have taken part as often "
        "as max_participations allows"
    )
    harness.wait(6.0)
    end = harness.asks[keys.JobEnding(JOB)].message
    assert end.phase == "finished"
    assert end.reason == (
        "the participations are spent: 2 of the 3 known agents have taken part as often as "
        "max_participations allows, and a round needs 2; more agents, or a new job, can train on"
    )


def test_a_job_waits_for_an_agent_that_is_offline_and_not_spent() -> None:
    """Since a round is possible with it."""
    job = private_job(BANDED, privacy=spent(BANDED, 9, 2), participations=took_part(2, 2, A, B))
    harness = begin_privately(job, A, B, C, D)
    harness.introduce(D, online=False)
    harness.silent.add(D)
    harness.wait(6.0)
    assert keys.JobEnding(JOB) not in harness.asks
    assert harness.state_now().reason == (
        "waiting for agents: 3 are online, 3 wanted, 2 needed; 2 agents have taken part as often "
        "as max_participations allows; offline: an agent"
    )


def test_the_terms_say_how_many_agents_are_wanted() -> None:
    """A round never asks for more: the mean is divided by that number."""
    wanted = {"agents": 5, "quorum": 5, "deadline_seconds": 10}
    job = private_job(terms(cohort=2), file=job_file(round=wanted))
    plan = begin_privately(job).planned
    assert (len(plan.cohort), plan.quorum) == (2, 2)
