"""Requests about ledgers: entries, refused plans, what was spent on a model."""

from dataclasses import replace

import pytest

from fedbus.core.actions import Note
from fedbus.core.events import Received, RunFailed
from fedbus.errors import StoreError
from fedbus.limits import MAX_COHORT_AGENTS, MAX_JOB_FILE_BYTES, MAX_MESSAGE_BYTES
from fedbus.privacy.banded import MAX_BANDED_STEPS
from fedbus.wire import codec
from fedbus.wire.messages import (
    EndJob,
    JobEnded,
    JobLoaded,
    LoadJob,
    NoiseRecorded,
    NoiseRefused,
    PlanRefused,
    PlanStored,
    PrivacyShown,
    RecordNoise,
    ShowPrivacy,
    StorePlan,
)
from fedbus.wire.privacy import JobPrivacy, NoiseStep, Participation
from fedbus.wire.refusals import refusal_of_request
from fedbus_repository.handlers import ledgers
from fedbus_repository.handlers.ledgers import plan_refused, with_ledger
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.ledger_records import JobLedger, PlanRefusal
from tests.repository.harness import (
    AGENTS,
    COLLECTOR,
    CONTROLLER,
    JOB,
    MODEL,
    PRIVATE,
    TERMS,
    USER,
    Harness,
    begin,
    commit_private,
    entry_for,
    load,
    plan_next,
    plan_of,
    ref_of,
    spent_with,
)


def test_noise_is_recorded_before_the_answer(harness: Harness, store: Store) -> None:
    """A repeated request has the same answer; another set of updates is refused."""
    begin(store, strategy=PRIVATE)
    plan = plan_next(store)
    question = RecordNoise(entry=entry_for(plan))
    updates = question.entry.updates
    answer = NoiseRecorded(job=JOB, task=1, spent=spent_with(), updates=updates)
    for _ in range(2):
        assert harness.receive(COLLECTOR, question) == [answer]
    assert store.job_ledger(JOB).entries == 1
    [refused] = harness.receive(COLLECTOR, RecordNoise(entry=entry_for(plan, AGENTS[:1])))
    assert isinstance(refused, NoiseRefused)
    assert "has a ledger entry for other agents or updates" in refused.reason
    assert refused.updates == entry_for(plan, AGENTS[:1]).updates != updates
    facts = {"job": JOB, "task": 1, "reason": refused.reason}
    assert harness.notes[-1] == Note("noise_refused", facts)


def test_an_entry_that_cannot_be_stored_gets_no_answer(harness: Harness, store: Store) -> None:
    """The collector asks again, and draws nothing meanwhile."""
    begin(store, strategy=PRIVATE)
    question = RecordNoise(entry=entry_for(plan_next(store)))
    harness.handle(Received(COLLECTOR, question))
    harness.handle(RunFailed(harness.runs.popleft().key, StoreError("No space left on device")))
    assert harness.sent == []
    assert harness.trouble == "the repository cannot store requests: No space left on device"
    assert len(harness.receive(COLLECTOR, question)) == 1


def test_a_plan_beyond_the_budget_is_refused(harness: Harness, store: Store) -> None:
    """The controller learns that the job is done, and a new one what the ledger says."""
    limited = replace(PRIVATE, privacy=replace(TERMS, target_epsilon=2.0))
    begin(store, strategy=limited)
    commit_private(store, 1.0)
    plan = plan_of(load(store))
    [refused] = harness.receive(CONTROLLER, StorePlan(epoch=0, plan=plan))
    assert refused == PlanRefused(
        job=JOB,
        task=2,
        kind="budget",
        reason="the privacy budget is spent: ε 2 of 2 after 1 ledger entry; one more would give "
        "2.95",
        participations=tuple(Participation(agent=each, count=1, last=1) for each in AGENTS),
        entries=1,
    )
    [loaded] = harness.receive(CONTROLLER, LoadJob(epoch=0, job=JOB))
    assert loaded.privacy == spent_with(target_epsilon=2.0)
    assert loaded.participations == tuple(
        Participation(agent=each, count=1, last=1) for each in AGENTS
    )
    end = EndJob(epoch=0, job=JOB, phase="finished", reason="")
    assert isinstance(harness.receive(CONTROLLER, end)[0], JobEnded)


def test_a_plan_that_asks_an_agent_too_often_is_refused(harness: Harness, store: Store) -> None:
    """With what the ledger says, so that the controller asks others."""
    once = replace(PRIVATE, privacy=replace(TERMS, max_participations=1))
    begin(store, strategy=once)
    commit_private(store, 1.0, agents=AGENTS[:1])
    [refused] = harness.receive(CONTROLLER, StorePlan(epoch=0, plan=plan_of(load(store))))
    assert isinstance(refused, PlanRefused)
    assert (refused.kind, refused.entries) == ("cohort", 1)
    assert refused.participations == (Participation(agent=AGENTS[0], count=1, last=1),)
    others = plan_of(load(store), cohort=AGENTS[1:])
    [stored] = harness.receive(CONTROLLER, StorePlan(epoch=0, plan=others))
    assert stored == PlanStored(job=JOB, task=2)


def test_what_was_spent_on_a_model_is_shown(
    harness: Harness, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By job, and in sum; of many jobs the newest are listed."""
    for job in ("a", "b"):
        begin(store, job, strategy=PRIVATE)
        commit_private(store, 1.0, job)
        store.end_job(0, job, "finished", "")
    [shown] = harness.receive(USER, ShowPrivacy(model=MODEL))
    assert isinstance(shown, PrivacyShown)
    assert (shown.version, shown.epsilon, shown.delta) == (3, 3.986185, 2e-5)
    assert [(each.job, each.first_version, each.failed) for each in shown.jobs] == [
        ("a", 2, 0),
        ("b", 3, 0),
    ]
    assert not [agent for agent in AGENTS if agent.encode() in codec.pack(shown)]
    monkeypatch.setattr(ledgers, "MAX_SHOWN_JOBS", 1)
    [newest] = harness.receive(USER, ShowPrivacy(model=MODEL))
    assert newest == replace(shown, jobs=shown.jobs[1:])


def test_a_model_that_is_unknown_or_cannot_be_read_is_refused(harness: Harness) -> None:
    """A user should not wait for nothing."""
    [refused] = harness.receive(USER, ShowPrivacy(model=MODEL))
    assert "no model named 'digits'" in refused.reason
    harness.handle(Received(USER, ShowPrivacy(model=MODEL)))
    harness.handle(RunFailed(harness.runs.popleft().key, StoreError("input/output error")))
    expected = refusal_of_request(ShowPrivacy(model=MODEL), MODEL, "input/output error", "other")
    assert harness.sent[-1][1] == expected


# ── room in messages ──────────────────────────────────────────────────────────────────────────────

LONGEST = [f"agent.{number:064d}" for number in range(MAX_COHORT_AGENTS)]
FULL = JobLedger(
    spent=spent_with(),
    entries=100_000,
    participations=tuple(
        Participation(agent=each, count=100_000, last=100_000) for each in LONGEST
    ),
)


def test_a_ledger_is_cut_to_what_a_message_holds(store: Store) -> None:
    """The first of the longest names of a full cohort, beside the largest file and plan."""
    job = begin(store, strategy=PRIVATE)
    plan = plan_of(job, cohort=tuple(LONGEST))
    loaded = JobLoaded(
        job=JOB,
        file=b"x" * MAX_JOB_FILE_BYTES,
        secret=job.secret,
        phase="running",
        reason="",
        rounds=1,
        latest=ref_of(job.latest),
        metrics={},
        plan=None,
    )
    found = with_ledger(loaded, FULL)
    refused = plan_refused(JOB, 1, PlanRefusal(kind="cohort", reason="x" * 4096, ledger=FULL))
    for answer, least in ((found, 7_500), (refused, 10_000 - 100)):
        assert len(codec.pack(answer)) < MAX_MESSAGE_BYTES - 900
        assert len(answer.participations) >= least, len(answer.participations)
        assert answer.participations == FULL.participations[: len(answer.participations)]
    crowded = with_ledger(replace(loaded, plan=plan), FULL)
    assert len(codec.pack(crowded)) < MAX_MESSAGE_BYTES - 900
    few = replace(FULL, participations=FULL.participations[:9])
    assert with_ledger(loaded, few).participations == few.participations


def test_the_steps_of_banded_noise_fit_a_message() -> None:
    """All that a ledger may have."""
    step = NoiseStep(round=2**31 - 1, task=2**31 - 1, updates="f" * 64)
    spent = replace(spent_with(), mechanism="x" * 64)
    answer = NoiseRecorded(
        job="j" * 64,
        task=2**31 - 1,
        spent=spent,
        updates="f" * 64,
        steps=(step,) * MAX_BANDED_STEPS,
    )
    assert len(codec.pack(answer)) < MAX_MESSAGE_BYTES - 1024


def test_a_thousand_jobs_fit_a_message() -> None:
    """Of the longest names."""
    job = JobPrivacy(
        job="j" * 64,
        rounds=2**40,
        running=True,
        spent=replace(spent_with(), mechanism="x" * 64, target_epsilon=2.5),
        failed=2**40,
        first_version=2**40,
        last_version=2**40,
        submitted="2026-11-29T08:53:28.120Z",
        mechanism="x" * 64,
    )
    shown = PrivacyShown(
        model="m" * 64,
        version=2**40,
        jobs=(job,) * ledgers.MAX_SHOWN_JOBS,
        epsilon=1.5,
        delta=1e-5,
    )
    assert len(codec.pack(shown)) < MAX_MESSAGE_BYTES - 1024
