"""The ledger of a private job: what the controller learns from the repository, and when."""

from typing import Any

import pytest

from fedbus.wire.documents import JobState
from fedbus.wire.messages import LoadJob, PlanRefused
from fedbus_controller import keys
from tests.controller.harness import (
    COLLECTOR,
    JOB,
    OTHER_COLLECTOR,
    REPOSITORY,
    A,
    B,
    C,
    Harness,
    failed,
)
from tests.controller.private_jobs import (
    KEY,
    begin_privately,
    committed_privately,
    private_job,
    spent,
    terms,
    took_part,
)

D, E, F = "agent.d", "agent.e", "agent.f"
LIMITED = terms(min_separation=2, max_participations=5)


def begin_limited(**changes: Any) -> Harness:  # noqa: ANN401 - any field
    """Begin a job with six agents, of which none may take part in consecutive steps."""
    return begin_privately(private_job(LIMITED, **changes), A, B, C, D, E, F)


def refusal(**changes: Any) -> PlanRefused:  # noqa: ANN401 - any field
    """Build the repository's refusal of the first plan."""
    plain: dict[str, Any] = {"job": JOB, "task": 1, "kind": "cohort"}
    return PlanRefused(**(plain | {"reason": "agent.a took part in step 4"} | changes))


def test_after_a_failed_round_the_ledger_is_loaded_before_the_next_plan() -> None:
    """Whether its noise was drawn, only the repository knows."""
    harness = begin_limited()
    first = harness.open_round()
    harness.receive(COLLECTOR, failed(first))
    assert harness.asked(keys.LedgerLoading(JOB), LoadJob) == LoadJob(epoch=1, job=JOB)
    harness.wait(3.0)
    assert keys.PlanStorage(JOB) not in harness.asks
    assert harness.state_now().reason == (
        "waiting for the repository to tell what the job has spent"
    )
    entries = took_part(1, 1, *first.cohort)
    job = private_job(LIMITED, plan=first, privacy=spent(LIMITED, 1), participations=entries)
    harness.receive(REPOSITORY, job)
    assert keys.LedgerLoading(JOB) not in harness.asks
    assert harness.state().privacy == spent(LIMITED, 1)
    harness.wait(1.0)
    again = harness.planned
    assert (again.round, again.task, again.noise_key) == (1, 2, KEY)
    assert not set(again.cohort) & set(first.cohort)


def test_a_failed_round_without_noise_costs_nothing() -> None:
    """All agents may be asked again, and nothing new is announced."""
    harness = begin_limited()
    first = harness.open_round()
    harness.receive(COLLECTOR, failed(first))
    harness.receive(REPOSITORY, private_job(LIMITED, plan=first))
    assert harness.sent(JobState) == []
    harness.introduce(D, E, F, online=False)
    harness.silent.update((D, E, F))
    harness.wait(6.0)
    assert sorted(harness.planned.cohort) == [A, B, C]


def test_a_job_that_failed_three_times_fails_all_the_same() -> None:
    """Loading the ledger keeps the number of failures."""
    harness = begin_limited()
    for task in (1, 2, 3):
        plan = harness.open_round()
        assert plan.task == task
        harness.receive(COLLECTOR, failed(plan))
        if task < 3:
            harness.receive(REPOSITORY, private_job(LIMITED, plan=plan))
            harness.wait(2.0)
    assert harness.asks[keys.JobEnding(JOB)].message.reason == (
        f"round 1 failed 3 times in a row, the last time: the reason is in the log of {COLLECTOR}: "
        "round_failed; why an agent declined is in its own: `fedbus logs AGENT`"
    )


def test_a_lost_collector_may_have_drawn_noise() -> None:
    """So the ledger is loaded before another collector gets the round."""
    harness = begin_limited()
    harness.introduce_key(OTHER_COLLECTOR, KEY)
    first = harness.open_round()
    harness.silent.add(first.collector)
    harness.wait(8.0)
    assert keys.LedgerLoading(JOB) in harness.asks
    assert keys.PlanStorage(JOB) not in harness.asks
    entries = took_part(1, 1, *first.cohort)
    job = private_job(LIMITED, plan=first, privacy=spent(LIMITED, 1), participations=entries)
    harness.receive(REPOSITORY, job)
    harness.wait(1.0)
    assert harness.planned.collector != first.collector
    assert not set(harness.planned.cohort) & set(first.cohort)


def test_a_record_that_disagrees_with_the_copy_has_the_ledger_loaded() -> None:
    """The repository had an entry more: that of a round which failed elsewhere."""
    harness = begin_limited()
    first = harness.open_round()
    harness.receive(COLLECTOR, committed_privately(first, LIMITED, spent(LIMITED, 2)))
    assert keys.LedgerLoading(JOB) in harness.asks
    assert harness.state().privacy == spent(LIMITED, 2)
    entries = took_part(1, 2, *first.cohort)
    harness.receive(
        REPOSITORY,
        private_job(LIMITED, rounds=1, privacy=spent(LIMITED, 2), participations=entries),
    )
    harness.wait(1.0)
    assert not set(harness.planned.cohort) & set(first.cohort)


def test_a_commit_of_another_plan_has_the_ledger_loaded() -> None:
    """The controller does not know whom that plan asked."""
    harness = begin_limited()
    first = harness.open_round()
    ended = committed_privately(first, LIMITED, spent(LIMITED, 1))
    assert ended.record is not None
    harness.receive(COLLECTOR, failed(first))
    harness.receive(REPOSITORY, private_job(LIMITED, plan=first))
    harness.wait(1.0)
    assert harness.planned.task == 2
    harness.receive(COLLECTOR, ended)
    assert keys.LedgerLoading(JOB) in harness.asks


def test_noise_of_agents_that_each_protect_themselves_is_spent_by_the_whole_cohort() -> None:
    """The entry is stored with the plan: who was asked may have sent something."""
    local = terms(
        mechanism="ldp-laplace",
        release="laplace",
        noise="agents",
        entered="with-plan",
        relation="replace-one",
        max_participations=1,
    )
    harness = begin_privately(private_job(local), A, B, C, D, E, F)
    first = harness.open_round()
    assert first.noise_key is None
    came = first.cohort[:1]
    harness.receive(COLLECTOR, committed_privately(first, local, spent(local, 1), came))
    assert keys.LedgerLoading(JOB) not in harness.asks
    assert not set(harness.planned.cohort) & set(first.cohort)


def test_a_job_without_a_mechanism_has_no_ledger() -> None:
    """A failed round is planned again at once."""
    harness = Harness()
    plan = harness.begin_round()
    harness.receive(COLLECTOR, failed(plan))
    assert keys.LedgerLoading(JOB) not in harness.asks


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("budget", "the privacy budget is spent: ε 3.9 of 4 after 7 ledger entries"),
        ("ledger-full", "the ledger of job 'job-1' is full: it has 10000 of 10000 entries"),
    ],
)
def test_a_job_without_budget_is_finished(kind: str, reason: str) -> None:
    """With the repository's sentence: the kind alone decides, not how a sentence begins."""
    harness = begin_limited()
    harness.receive(REPOSITORY, refusal(kind=kind, reason=reason))
    assert keys.PlanStorage(JOB) not in harness.asks
    end = harness.asks[keys.JobEnding(JOB)].message
    assert (end.phase, end.reason) == ("finished", reason)
    assert harness.noted("plan_refused") == [{"job": JOB, "round": 1, "task": 1, "kind": kind}]


def test_a_full_ledger_ends_a_job_whose_agents_have_taken_part_less_often() -> None:
    """Other agents would need an entry as well; with "budget" the job goes on with them."""
    of = terms(target_epsilon=4.0)
    entries = (*took_part(3, 4, A, B), *took_part(1, 3, C, D))
    job = private_job(of, privacy=spent(of, 4, 3), participations=entries)
    for kind, ends in (("ledger-full", True), ("budget", False)):
        harness = begin_privately(job, A, B, C, D)
        harness.receive(REPOSITORY, refusal(kind=kind))
        assert (keys.JobEnding(JOB) in harness.asks) is ends


def test_a_refused_noise_key_is_told_as_such() -> None:
    """No other cohort would help; the sentence of the repository has parts of keys."""
    harness = begin_limited()
    harness.receive(REPOSITORY, refusal(kind="key", reason="began with the key 0123"))
    assert harness.state().reason == (
        "the noise key broke the job's privacy terms; planning the round again"
    )


def test_a_job_goes_on_with_agents_whose_epsilon_is_not_spent() -> None:
    """It ends once too few of all known agents are left, with a sentence of that moment.

    What the repository said when it refused a cohort was true some rounds ago.
    """
    of = terms(target_epsilon=4.0)
    entries = (*took_part(3, 4, A, B), *took_part(1, 3, C, D))
    job = private_job(of, privacy=spent(of, 4, 3), participations=entries)
    harness = begin_privately(job, A, B, C, D)
    first = harness.planned
    assert {A, B} & set(first.cohort)
    harness.receive(REPOSITORY, refusal(reason="ε 3.9 of 4", kind="budget"))
    assert keys.JobEnding(JOB) not in harness.asks
    harness.wait(1.0)
    assert harness.state_now().reason == (
        "waiting for agents: 4 are online, 3 wanted, 2 needed; 2 agents have taken part as often "
        "as target_epsilon allows"
    )
    harness.wait(6.0)
    second = harness.planned
    assert (second.task, sorted(second.cohort)) == (2, [C, D])
    harness.receive(REPOSITORY, refusal(task=2, reason="ε 3.8 of 4", kind="budget"))
    harness.wait(8.0)
    end = harness.asks[keys.JobEnding(JOB)].message
    assert (end.phase, end.reason) == (
        "finished",
        (
            "the privacy budget is spent: 4 of the 4 known agents have taken part as often as "
            "target_epsilon allows, and a round needs 2; more agents, or a new job, can train on"
        ),
    )


def test_a_refused_plan_is_made_again_with_what_the_ledger_says() -> None:
    """The sentence names no agent: the job's state is public."""
    harness = begin_limited()
    assert harness.planned.task == 1
    participations = (*took_part(1, 4, A, B), *took_part(1, 3, C))
    harness.receive(REPOSITORY, refusal(participations=participations, entries=4))
    assert keys.PlanStorage(JOB) not in harness.asks
    assert harness.state().reason == (
        "the cohort broke the job's privacy terms; planning the round again"
    )
    harness.wait(1.0)
    assert harness.planned.task == 2
    assert not {A, B} & set(harness.planned.cohort)


def test_a_refusal_of_another_plan_is_ignored() -> None:
    """Of an earlier task, or after the plan was stored, or of a job that does not run here."""
    harness = begin_limited()
    plan = harness.planned
    harness.receive(REPOSITORY, refusal(task=9, kind="budget"))
    harness.receive(REPOSITORY, refusal(job="job-2", kind="budget"))
    assert harness.planned == plan
    harness.open_round()
    harness.receive(REPOSITORY, refusal(kind="budget"))
    assert keys.JobEnding(JOB) not in harness.asks


def test_a_released_job_does_not_wait_for_its_ledger() -> None:
    """Another controller loads it."""
    harness = begin_limited()
    first = harness.open_round()
    harness.receive(COLLECTOR, failed(first))
    harness.renews = False
    harness.wait(20.0)
    assert keys.LedgerLoading(JOB) not in harness.asks
