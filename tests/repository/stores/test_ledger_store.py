"""Ledgers of a store: what is in them before noise is drawn, and what a model has cost."""

import contextlib
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedbus.errors import PluginError, StoreError
from fedbus.privacy.budget import spent_of
from fedbus.privacy.ledger import Composition
from fedbus.privacy.ledger_entries import entry_of_plan
from fedbus.simulation.oracle import check_records
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.features import AgentFeatures
from fedbus.wire.privacy import NoiseStep, Participation, PrivacySpent, PrivacyTerms
from fedbus.wire.strategies import Strategy
from fedbus_repository.stores import ledger_decisions
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.ledger_records import (
    JobLedger,
    ModelPrivacy,
    PlanRefusal,
    RecordedNoise,
    Spent,
)
from fedbus_repository.stores.model_epsilon import model_spent
from fedbus_repository.stores.records import HistoryEntry, StoredJob, StoreRefusal, Version
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.repository.conftest import Open
from tests.repository.faults import STEPS, Disk
from tests.repository.harness import (
    AGENTS,
    JOB,
    KEY,
    MODEL,
    PRIVATE,
    TERMS,
    begin,
    commit_next,
    commit_private,
    entry_for,
    load,
    plan_next,
    plan_of,
    push,
    push_of,
    put,
    record_of,
    spent_with,
    weights,
)

BANDED = replace(
    TERMS, release="banded", correlated=True, bands=2, min_separation=2, max_participations=3
)
FEATURES = replace(
    TERMS,
    mechanism="mistnet",
    release="features",
    noise="agents",
    entered="with-plan",
    unit="example",
    relation="replace-one",
    noise_multiplier=0.5,
    delta=0.0,
)
LAPLACE = replace(
    TERMS, mechanism="ldp-laplace", release="laplace", noise="agents", entered="with-plan"
)


def private(**changes: object) -> Strategy:
    """A private strategy; `changes` replace fields of its terms."""
    return replace(PRIVATE, privacy=replace(TERMS, **changes))  # type: ignore[arg-type]  # any field


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_job_promises_is_stored_with_it(reopen: Open) -> None:
    """And the first key that its noise is drawn with."""
    store = reopen()
    begin(store, strategy=PRIVATE)
    assert (load(store).private, load(store).terms, load(store).noise_key) == (PRIVATE, TERMS, None)
    plan_next(store)
    job = load(reopen())
    assert (job.private, job.noise_key) == (PRIVATE, KEY)
    begin(store := reopen(), "faces-1", "faces")
    assert (load(store, "faces-1").private, load(store, "faces-1").terms) == (None, None)


def test_a_model_of_unknown_epsilon_is_not_trained_privately(store: Store) -> None:
    """Until its weights are pushed again: what they cost is then for their owner to state."""
    begin(store)
    commit_next(store, 1.0)
    store.end_job(0, JOB, "finished", "")
    assert store.check_private_job(MODEL, PRIVATE) == (
        answer := store.store_job(0, "b", MODEL, b"{}", strategy=PRIVATE)
    )
    assert isinstance(answer, StoreRefusal)
    assert answer.key == "privacy-mechanisms"
    assert answer.reason.startswith(
        "the ε of model 'digits' is unknown: job 'digits-1' has trained"
    )
    latest = store.latest()[0]
    store.push(push_of(latest.spec, put(store, weights(9.0)), reset=True), ())
    assert store.check_private_job(MODEL, PRIVATE) is None
    assert isinstance(store.store_job(0, "b", MODEL, b"{}", strategy=PRIVATE), StoredJob)


def test_a_budget_that_allows_no_round_is_refused_at_once(store: Store) -> None:
    """No user waits for a job that can train nothing."""
    push(store)
    assert store.check_private_job(MODEL, private(target_epsilon=2.0)) is None
    assert store.check_private_job(MODEL, private(target_epsilon=1.9)) == StoreRefusal(
        "the privacy budget of ε 1.9 is too small: the first round would give 2",
        "privacy-mechanisms.accounting.target_epsilon",
    )


def test_a_repository_that_cannot_account_takes_no_private_job(tmp_path: Path) -> None:
    """The sentence says what to install."""

    def missing(*_: object) -> PrivacySpent:
        raise PluginError("pip install it")

    store = SqliteStore(tmp_path, accountant=missing)
    push(store)
    refusal = StoreRefusal("pip install it", "privacy-mechanisms")
    assert store.check_private_job(MODEL, PRIVATE) == refusal
    store.close()


# ── entries ───────────────────────────────────────────────────────────────────────────────────────


def test_an_entry_is_there_before_its_noise_is_drawn(reopen: Open) -> None:
    """It outlives the process, and an equal one gets the same answer, also after the job's end."""
    store = reopen()
    begin(store, strategy=PRIVATE)
    entry = entry_for(plan_next(store))
    answer = store.record_noise(entry)
    assert answer == RecordedNoise(spent=spent_with())
    store = reopen()
    assert store.job_ledger(JOB) == JobLedger(
        spent=spent_with(),
        entries=1,
        participations=tuple(Participation(agent=each, count=1, last=1) for each in AGENTS),
    )
    mixed = replace(entry, agents=AGENTS[::-1])
    assert store.record_noise(mixed) == answer
    store.end_job(0, JOB, "cancelled", "")
    assert store.record_noise(entry) == answer
    assert store.job_ledger(JOB) == JobLedger(spent=spent_with(), entries=1)
    other = store.record_noise(entry_for(load(store).plan or plan_next(store), AGENTS[:2]))
    assert isinstance(other, StoreRefusal)
    assert "has a ledger entry for other agents or updates" in other.reason


def test_a_round_that_failed_is_paid_for(store: Store) -> None:
    """Its noise has left the collector, so its entry stays."""
    begin(store, strategy=PRIVATE)
    store.record_noise(entry_for(plan_next(store)))
    done = commit_private(store, 1.0, agents=AGENTS[:1])
    spent = spent_with(entries=2)
    assert done.version.privacy == spent
    assert store.job_ledger(JOB).participations == (
        Participation(agent=AGENTS[0], count=2, last=2),
        Participation(agent=AGENTS[1], count=1, last=1),
        Participation(agent=AGENTS[2], count=1, last=1),
    )
    shown = store.model_privacy(MODEL)
    assert isinstance(shown, ModelPrivacy)
    assert [(each.rounds, each.failed) for each in shown.jobs] == [(1, 1)]
    assert check_records(store).rounds == 1


def test_banded_noise_gets_the_steps_of_all_entries(store: Store) -> None:
    """It adds earlier noise again, negatively."""
    push(store)
    store.store_job(0, JOB, MODEL, b"{}", strategy=replace(PRIVATE, privacy=BANDED))
    found = []
    for agents in (AGENTS[:1], AGENTS[1:]):
        plan = plan_of(load(store), cohort=agents)
        assert store.store_plan(0, plan) == plan
        entry = entry_for(plan, agents, BANDED)
        answer = store.record_noise(entry)
        assert isinstance(answer, RecordedNoise)
        assert entry.updates is not None
        found.append(NoiseStep(round=1, task=plan.task, updates=entry.updates))
        assert answer.steps == tuple(found)


def test_agents_that_draw_the_noise_are_in_the_ledger_before_they_are_asked(store: Store) -> None:
    """Each may have released something; the collector gets the answer to an equal entry."""
    push(store)
    strategy = replace(PRIVATE, privacy=LAPLACE)
    store.store_job(0, JOB, MODEL, b"{}", strategy=strategy)
    first = plan_next(store)
    assert store.store_plan(0, first) == first
    spent = spent_with(LAPLACE)
    assert store.job_ledger(JOB).spent == spent
    assert store.record_noise(entry_of_plan(first, LAPLACE)) == RecordedNoise(spent=spent)
    again = plan_next(store)
    twice = spent_with(LAPLACE, 2)
    record = record_of(again, AGENTS[:1], strategy=strategy, privacy=twice)
    assert isinstance(store.commit(record, put(store, weights(1.0))), HistoryEntry)


def test_rounds_that_train_on_features_release_nothing(store: Store) -> None:
    """The plan that asked for the features is the only entry, with the agents that were asked."""
    push(store)
    strategy = replace(PRIVATE, privacy=FEATURES)
    store.store_job(0, JOB, MODEL, b"{}", strategy=strategy)
    blob = blob_ref_of(b"bits")
    sent = tuple(AgentFeatures(agent=a, features=blob, examples=1) for a in AGENTS[:2])
    trainer: dict[str, Any] = {"cohort": ("agent.big",), "features": sent}
    unpaid = store.store_plan(0, plan_of(load(store), **trainer))
    assert unpaid == StoreRefusal(
        "the plan of task 1 has features of agent.a, which no plan of job 'digits-1' has asked for "
        "them"
    )
    plan_next(store)
    once = spent_with(FEATURES)
    for number in (1, 2):
        plan = plan_of(load(store), **trainer)
        assert store.store_plan(0, plan) == plan
        assert store.record_noise(entry_of_plan(plan, FEATURES)) == RecordedNoise(spent=once)
        other = replace(entry_of_plan(plan, FEATURES), task=99)
        assert isinstance(store.record_noise(other), StoreRefusal)
        record = record_of(plan, ("agent.big",), strategy=strategy, privacy=once)
        wrong = replace(record, privacy=spent_with(FEATURES, 2))
        assert isinstance(store.commit(wrong, put(store, weights(9.0))), StoreRefusal)
        assert isinstance(store.commit(record, put(store, weights(number))), HistoryEntry)
    ledger = store.job_ledger(JOB)
    assert (ledger.entries, [each.agent for each in ledger.participations]) == (1, [*AGENTS])
    found = store.model_privacy(MODEL)
    assert isinstance(found, ModelPrivacy)
    assert [(each.rounds, each.failed) for each in found.jobs] == [(2, 0)]


def test_a_job_that_ended_before_its_first_entry_has_spent_nothing(store: Store) -> None:
    """A new controller announces it again."""
    begin(store, strategy=PRIVATE)
    store.end_job(0, JOB, "cancelled", "")
    assert store.job_ledger(JOB) == JobLedger()
    found = store.model_privacy(MODEL)
    assert isinstance(found, ModelPrivacy)
    assert [(each.spent, each.rounds, each.mechanism) for each in found.jobs] == [
        (None, 0, TERMS.mechanism)
    ]


def test_an_entry_of_an_unknown_job_is_refused(store: Store) -> None:
    """Nor has a job without a mechanism a ledger."""
    job = begin(store)
    entry = entry_for(plan_of(job))
    assert store.record_noise(entry) == StoreRefusal(
        "job 'digits-1' has no privacy mechanism, so its ledger takes no entry"
    )
    unknown = store.record_noise(replace(entry, job="faces-1"))
    assert unknown == StoreRefusal("no job named 'faces-1' in this repository")
    assert store.job_ledger(JOB) == store.job_ledger("faces-1") == JobLedger()


def test_of_two_collectors_one_has_its_entry_stored(tmp_path: Path) -> None:
    """ε is computed outside the transaction: both find the ledger empty, and one comes second."""
    both = threading.Barrier(2, timeout=20)
    calls = []

    def accountant(
        terms: PrivacyTerms, composition: Composition, earlier: Iterable[Spent]
    ) -> PrivacySpent:
        calls.append(composition.entries)
        if len(calls) <= 2:
            both.wait()
        return spent_of(terms, composition, earlier)

    store = SqliteStore(tmp_path, accountant=accountant)
    plan = plan_of(begin(store, strategy=PRIVATE))
    store_plan = store.store_plan
    with ThreadPoolExecutor(2) as pool:  # two controllers plan the same round
        assert [*pool.map(store_plan, (0, 0), (plan, plan))] == [plan, plan]
    calls.clear()
    sets = [entry_for(plan, agents) for agents in (AGENTS, AGENTS[:2])]
    with ThreadPoolExecutor(2) as pool:
        answers = [*pool.map(store.record_noise, sets)]
    assert {type(each) for each in answers} == {RecordedNoise, StoreRefusal}
    assert store.job_ledger(JOB).entries == 1
    store.close()


# ── plans ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_that_breaks_the_terms_gets_what_the_ledger_says(store: Store) -> None:
    """So the controller can choose other agents."""
    push(store)
    store.store_job(0, JOB, MODEL, b"{}", strategy=private(max_participations=1))
    commit_private(store, 1.0)
    refusal = store.store_plan(0, plan_of(load(store)))
    assert isinstance(refusal, PlanRefusal)
    assert refusal.reason.endswith("max_participations allows 1")
    assert (refusal.kind, refusal.ledger) == ("cohort", store.job_ledger(JOB))
    other = plan_of(load(store), cohort=("agent.z",))
    assert store.store_plan(0, other) == other


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        (
            replace(TERMS, target_epsilon=3.0),
            (
                "the privacy budget is spent: ε 2.95 of 3 after 2 ledger entries; one more would "
                "give 3.71"
            ),
        ),
        (
            replace(LAPLACE, target_epsilon=1.0),
            "the privacy budget is spent: ε 1 of 1 after 2 ledger entries; one more would give 1.5",
        ),
    ],
    ids=["collector", "agents"],
)
def test_the_round_that_would_exceed_the_budget_is_not_planned(
    store: Store, terms: PrivacyTerms, reason: str
) -> None:
    """The job is done; nothing of that round is in the ledger."""
    push(store)
    store.store_job(0, JOB, MODEL, b"{}", strategy=replace(PRIVATE, privacy=terms))
    for _ in range(2):
        plan = plan_next(store)
        if terms.noise == "collector":
            store.record_noise(entry_for(plan, terms=terms))
    refusal = store.store_plan(0, plan_of(load(store)))
    assert isinstance(refusal, PlanRefusal)
    assert (refusal.kind, refusal.reason) == ("budget", reason)
    assert store.job_ledger(JOB).entries == 2
    assert load(store).plan == plan


def test_a_full_ledger_ends_the_job(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its steps have no more room in a message, or its agents in memory."""
    begin(store, strategy=PRIVATE)
    store.record_noise(entry_for(plan_next(store)))
    monkeypatch.setattr("fedbus_repository.stores.privacy_rules.MAX_LEDGER_ENTRIES", 1)
    refusal = store.store_plan(0, plan_of(load(store)))
    assert isinstance(refusal, PlanRefusal)
    assert (refusal.kind, refusal.reason) == (
        "ledger-full",
        f"the ledger of job {JOB!r} is full: it has 1 of 1 entries",
    )


def test_an_entry_that_would_exceed_the_budget_is_refused(tmp_path: Path) -> None:
    """Its noise may be less than the plan's quorum promised."""
    store = SqliteStore(tmp_path)
    local = replace(TERMS, noise="agents", target_epsilon=2.0)
    begin(store, strategy=replace(PRIVATE, privacy=local))
    plan = plan_of(load(store), quorum=3)
    assert store.store_plan(0, plan) == plan
    assert store.record_noise(entry_for(plan, AGENTS[:2], local)) == StoreRefusal(
        "the privacy budget of ε 2 is too small: the first round would give 2.51"
    )
    assert store.job_ledger(JOB).entries == 0
    assert isinstance(store.record_noise(entry_for(plan, AGENTS, local)), RecordedNoise)
    store.close()


def test_a_plan_without_agents_is_for_poisson_sampling_only(store: Store) -> None:
    """Also a plan of a job without a mechanism."""
    job = begin(store)
    refusal = store.store_plan(0, plan_of(job, cohort=(), quorum=0))
    assert refusal == StoreRefusal("the plan of task 1 asks no agent, or needs no update")


# ── commits and models ────────────────────────────────────────────────────────────────────────────


def test_a_round_without_its_entry_is_not_committed(store: Store) -> None:
    """The collector that drew its noise has not said so."""
    begin(store, strategy=PRIVATE)
    record = record_of(plan_next(store), strategy=PRIVATE, privacy=spent_with())
    refusal = StoreRefusal(
        "the ledger of job 'digits-1' has no entry for task 1: it must be stored before noise is"
        " drawn"
    )
    assert store.check_commit(record) == refusal
    assert store.commit(record, put(store, weights(1.0))) == refusal


def test_the_jobs_of_a_model_add_up_until_it_is_pushed_again(store: Store) -> None:
    """Each version states what its own and the earlier jobs had spent."""
    begin(store, "a", strategy=PRIVATE)
    commit_private(store, 1.0, "a")
    store.end_job(0, "a", "finished", "")
    begin(store, "b", strategy=PRIVATE)
    done = commit_private(store, 2.0, "b")
    assert done.version.privacy == spent_with(model_epsilon=3.986185, model_delta=2e-5)
    shown = store.model_privacy(MODEL)
    assert isinstance(shown, ModelPrivacy)
    assert (shown.version, [each.job for each in shown.jobs]) == (3, ["a", "b"])
    assert model_spent(shown.jobs) == (3.986185, 2e-5)
    first = shown.jobs[0]
    assert (first.first_version, first.last_version, first.running) == (2, 2, False)
    assert shown.jobs[1].running
    store.end_job(0, "b", "finished", "")
    latest = store.latest()[0]
    store.push(push_of(latest.spec, put(store, weights(9.0)), reset=True), ())
    begin(store, "c", strategy=PRIVATE)
    assert commit_private(store, 3.0, "c").version.privacy == spent_with()
    assert isinstance(store.model_privacy("faces"), StoreRefusal)


def test_a_reset_with_equal_weights_begins_epsilon_again(store: Store) -> None:
    """Over a trained version, and over a pushed one on which only failed rounds have spent."""
    first = push(store)
    begin(store, "a", strategy=PRIVATE)  # pushes what is stored already
    plan = plan_next(store, "a")
    assert isinstance(store.record_noise(entry_for(plan)), RecordedNoise)  # and the round fails
    store.end_job(0, "a", "failed", "")
    assert push(store) == first
    reset = store.push(push_of(first.spec, first.weights, reset=True), ())
    assert isinstance(reset, Version)
    assert (reset.version, reset.weights, epsilon_of(store)) == (2, first.weights, 0.0)
    assert store.check_push(push_of(first.spec, first.weights, reset=True)) == reset  # once
    store.store_job(0, "b", MODEL, b"{}")
    trained = commit_next(store, 1.0, "b").version
    store.end_job(0, "b", "finished", "")
    assert epsilon_of(store) is None
    assert store.check_push(push_of(trained.spec, trained.weights)) == trained
    again = store.push(push_of(trained.spec, trained.weights, reset=True), ())
    assert isinstance(again, Version)
    assert (again.version, again.job, epsilon_of(store)) == (4, None, 0.0)
    assert store.check_private_job(MODEL, PRIVATE) is None


def epsilon_of(store: Store) -> float | None:
    """Return the ε of the model."""
    found = store.model_privacy(MODEL)
    assert isinstance(found, ModelPrivacy)
    return model_spent(found.jobs)[0]


def test_retention_deletes_weights_but_no_entry(store: Store) -> None:
    """What was spent stays spent."""
    begin(store, strategy=PRIVATE)
    for value in range(1, 7):
        commit_private(store, float(value))
    entries = list(store.history())
    assert [each.version.kept for each in entries] == [True, False, False, False, True, True, True]
    spent = [each.version.privacy for each in entries[1:]]
    assert [each.entries for each in spent if each] == [1, 2, 3, 4, 5, 6]
    assert store.job_ledger(JOB).entries == 6


def test_a_ledger_that_is_no_longer_in_memory_is_read_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository has many models, and a bound on what it holds."""
    monkeypatch.setattr(ledger_decisions, "MAX_CACHED_LEDGERS", 1)
    for _ in range(2):
        for model in ("faces", MODEL):
            if model not in {each.model for each in store.latest()}:
                begin(store, f"{model}-1", model, strategy=PRIVATE)
            commit_private(store, 1.0, f"{model}-1")
    assert store.job_ledger("faces-1").participations == store.job_ledger(JOB).participations
    assert store.job_ledger(JOB).entries == 2


# ── the disk ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", range(6))
def test_a_fault_at_any_step_never_understates_what_is_spent(
    tmp_path: Path, step: str, after: int
) -> None:
    """Whatever was answered is in the ledger, and the job goes on after a restart."""
    disk = Disk(step, after)

    def opened() -> SqliteStore:
        return SqliteStore(tmp_path, durable=False, on_step=disk)

    answered = 0

    def tried(call: Callable[[], object]) -> None:
        nonlocal answered
        with contextlib.suppress(StoreError):
            answered += isinstance(call(), RecordedNoise)

    disk.step = ""
    store = opened()
    begin(store, strategy=PRIVATE)
    disk.step = step
    for value in (1.0, 2.0):
        tried(lambda: store.store_plan(0, plan_of(load(store))))
        plan = load(store).plan
        if plan is not None:
            tried(lambda plan=plan: store.record_noise(entry_for(plan)))  # type: ignore[misc]  # a default
            assert store.job_ledger(JOB).entries >= answered
        tried(lambda value=value: commit_private(store, value))  # type: ignore[misc]  # a default
    before = store.job_ledger(JOB)
    store.close()
    disk.step = ""
    store = opened()
    assert store.job_ledger(JOB) == before
    assert before.entries >= answered
    commit_private(store, 3.0)
    check_records(store)
    store.close()
