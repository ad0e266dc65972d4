"""Which rounds are open, and whose word counts: orders, answers, restarts, epochs."""

import pytest

from fedbus.core.events import Connected, Ran, RunFailed, Stopping, Woke
from fedbus.wire.messages import (
    Commit,
    Committed,
    Dismiss,
    Dismissed,
    JobStopped,
    LookedUp,
    LookUp,
    RoundEnded,
    RoundEndNoted,
    RoundOpened,
    StaleEpoch,
    StopJob,
)
from fedbus_collector import keys
from fedbus_collector.rounds import ended
from fedbus_collector.rounds.ended import MAX_ROUNDS
from tests.collector.stand import (
    BASE,
    CONTROLLER,
    JOB,
    REPOSITORY,
    SPEC,
    A,
    B,
    C,
    Stand,
    blob,
    offer,
    order,
    version,
)

KEY = (JOB, 1)
UPDATE = blob(1.0, "delta")
SUCCESSOR = "controller.2"


def committed(stand: Stand) -> None:
    """Run a round to its commit."""
    stand.open()
    for agent in (A, B, C):
        stand.give(agent)
    stand.confirm()


@pytest.mark.parametrize(
    "stale",
    [
        order(epoch=3),
        StopJob(epoch=3, job=JOB),
        Dismiss(epoch=3, job=JOB, task=1, agents=(A,), reason="lost"),
    ],
    ids=["open", "stop", "dismiss"],
)
def test_an_order_under_a_lower_epoch_is_refused(stale: object) -> None:
    """Its sender has lost the lease, and is told so."""
    stand = Stand()
    stand.open(order(epoch=4))
    stand.hear(SUCCESSOR, stale)
    assert stand.told(SUCCESSOR, StaleEpoch).epoch == 4
    assert len(stand.last) == 1


def test_a_successor_is_told_how_the_round_ended() -> None:
    """It orders the open round again, and is its controller from then on."""
    stand = Stand()
    stand.open()
    stand.hear(SUCCESSOR, order(epoch=2))
    for agent in (A, B, C):
        stand.give(agent)
    stand.confirm()
    assert stand.asks[keys.RoundEndReport(*KEY)].to == SUCCESSOR


def test_an_end_is_told_until_it_is_noted() -> None:
    """And again to whoever orders that round after it."""
    stand = Stand()
    committed(stand)
    stand.hear(CONTROLLER, RoundEndNoted(job=JOB, task=1))
    assert stand.asks == {}
    stand.hear(SUCCESSOR, order(epoch=2))
    assert stand.asks[keys.RoundEndReport(*KEY)].to == SUCCESSOR
    assert stand.told(SUCCESSOR, RoundOpened).task == 1
    assert stand.fetches == {}


def test_a_round_planned_anew_that_was_committed_before_is_not_collected_again() -> None:
    """Its controller had not heard of the commit."""
    stand = Stand()
    committed(stand)
    stand.hear(CONTROLLER, order(task=2))
    assert stand.told(CONTROLLER, RoundEnded).task == 1
    assert stand.fetches == {}


def test_a_later_plan_ends_the_one_before() -> None:
    """Its agents may forget; its controller knows already."""
    stand = Stand()
    stand.open()
    stand.give(A)
    stand.hear(CONTROLLER, order(task=2))
    assert stand.receipts()[A].reason == "the round failed: the round was planned anew"
    assert stand.asks == {}
    stand.hear(A, offer(UPDATE))
    assert stand.receipts()[A].verdict == "drop"


def test_an_order_that_was_overtaken_is_not_followed() -> None:
    """Neither while the later round is open nor when it has ended."""
    stand = Stand()
    stand.open(order(round=2, task=2))
    stand.hear(CONTROLLER, order())
    assert stand.fetches == {}
    stand.hear(CONTROLLER, StopJob(epoch=1, job=JOB))
    stand.hear(CONTROLLER, order())
    assert stand.fetches == {}
    assert stand.said(RoundOpened)


def test_the_next_round_ends_all_telling_of_the_last() -> None:
    """Whoever plans it knows."""
    stand = Stand()
    committed(stand)
    assert keys.RoundEndReport(*KEY) in stand.asks
    stand.hear(CONTROLLER, order(round=2, task=2, base=version(2)))
    assert stand.asks == {}


def test_a_round_costs_no_more_after_many_than_after_one() -> None:
    """Reports that were acknowledged are not cancelled with every round that follows."""
    stand, costs = Stand(), []
    for task in range(1, 6):
        base = version(task)
        stand.hear(CONTROLLER, order(round=task, task=task, base=base))
        costs.append(len(stand.last))
        stand.hear(CONTROLLER, StopJob(epoch=1, job=JOB))
        stand.hear(CONTROLLER, RoundEndNoted(job=JOB, task=task))
    assert len(set(costs)) == 1


def test_a_dismissal_that_overtakes_its_round_is_not_confirmed() -> None:
    """It is asked again, until there is a round from which to dismiss; or there was."""
    stand = Stand()
    dismiss = Dismiss(epoch=1, job=JOB, task=1, agents=(A,), reason="lost")
    stand.hear(CONTROLLER, dismiss)
    assert stand.last == []
    committed(stand)
    stand.hear(CONTROLLER, dismiss)
    assert stand.told(CONTROLLER, Dismissed).agents == (A,)


def test_a_stopped_job_leaves_nothing_behind() -> None:
    """No ask, no timer, no fetch, no room; its agents hear what became of their updates."""
    stand = Stand()
    stand.open()
    stand.give(A)
    stand.hear(B, offer(UPDATE))
    stand.hear(CONTROLLER, StopJob(epoch=1, job=JOB))
    assert stand.told(CONTROLLER, JobStopped).job == JOB
    assert (stand.asks, stand.timers, stand.fetches) == ({}, {}, {})
    assert stand.receipts().keys() == {A, B}
    assert stand.spools.used == len(BASE)


def test_a_stopped_job_is_told_no_more() -> None:
    """Its controller knows how its last round ended, or does not care."""
    stand = Stand()
    committed(stand)
    stand.hear(CONTROLLER, order(job="job-2"))
    stand.hear(CONTROLLER, StopJob(epoch=1, job=JOB))
    assert stand.asks == {}
    assert keys.BaseFetch("job-2", 1) in stand.fetches


# ── agents ────────────────────────────────────────────────────────────────────────────────────────


def test_an_offer_for_a_round_that_has_ended_is_answered_from_memory() -> None:
    """Whoever counted is told so, whoever did not as well."""
    stand = Stand()
    stand.open()
    stand.give(A)
    stand.give(B)
    stand.wait(10.0)
    stand.work()
    stand.confirm()
    stand.hear(A, offer(UPDATE))
    assert stand.receipts()[A].verdict == "stored"
    stand.hear(C, offer(UPDATE))
    assert stand.receipts()[C].verdict == "drop"
    assert stand.receipts()[C].reason == "round 1 ended without it"


@pytest.mark.parametrize("verdict", ["stored", "drop", "unknown"])
def test_an_offer_for_a_round_that_nobody_knows_here_is_looked_up(verdict: str) -> None:
    """A restarted collector knows nothing; the repository does, or will."""
    stand = Stand()
    stand.hear(A, offer(UPDATE, task=7))
    assert stand.asked(keys.UpdateLookup(JOB, 7, A), LookUp).agent == A
    looked_up = LookedUp(job=JOB, agent=A, task=7, verdict=verdict)  # type: ignore[arg-type]
    stand.hear(REPOSITORY, looked_up)
    assert stand.asks == {}
    assert stand.receipts()[A].verdict == verdict


def test_a_restarted_collector_folds_again_from_what_agents_still_hold() -> None:
    """Partial sums are not trusted; the same updates make the same aggregate."""
    before, after = Stand(), Stand(incarnation=6)
    for agent in (A, B, C):
        after.hear(agent, offer(UPDATE))
    before.open()
    after.open()
    for agent in (A, B, C):
        before.give(agent, 2.0)
        after.give(agent, 2.0)
    assert before.commit == after.commit


def test_only_so_many_ends_are_remembered() -> None:
    """And nobody is told for ever of those that are not."""
    stand = Stand()
    for number in range(MAX_ROUNDS + 1):
        job = f"job-{number}"
        stand.hear(CONTROLLER, order(job=job))
        stand.hear(A, offer(UPDATE))
        stand.tell(Connected())
        for agent in (A, B):
            dismiss = Dismiss(epoch=1, job=job, task=1, agents=(agent,), reason="lost")
            stand.hear(CONTROLLER, dismiss)
    told = {key.job for key in stand.asks if isinstance(key, keys.RoundEndReport)}
    assert len(told) == MAX_ROUNDS
    assert "job-0" not in told


def test_of_large_cohorts_fewer_ends_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The updates that counted take the memory; the last round is remembered whatever it takes."""
    for most, remembered in ((7, [2, 3]), (1, [3])):
        monkeypatch.setattr(ended, "MAX_UPDATES", most)
        stand = Stand()
        for number in (1, 2, 3):
            stand.open(order(job=f"job-{number}"))
            for agent in (A, B, C):
                stand.hear(agent, offer(UPDATE, inline=UPDATE, job=f"job-{number}"))
                stand.work()
            stand.confirm(stand.asked(keys.CommitRequest(f"job-{number}", 1), Commit))
        known = []
        for number in (1, 2, 3):
            stand.hear(A, offer(UPDATE, job=f"job-{number}"))
            known += [number] if A in stand.receipts() else []
        assert known == remembered


# ── workers that outlive their round ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("well", [True, False], ids=["done", "failed"])
def test_a_spool_is_not_closed_while_a_worker_reads_it(well: bool) -> None:
    """The round is over; its room is given back when the worker is done, well or not."""
    stand = Stand()
    stand.open()
    stand.hear(A, offer(UPDATE, inline=UPDATE))
    used = stand.spools.used
    stand.hear(CONTROLLER, StopJob(epoch=1, job=JOB))
    assert stand.spools.used == used
    (run,) = stand.runs
    assert run.call() == {}  # its spools are as they were
    stand.tell(Ran(run.key, {}) if well else RunFailed(run.key, RuntimeError()))
    assert stand.spools.used == len(BASE)
    assert stand.last == []


def test_two_workers_may_outlive_their_round() -> None:
    """The last one to end gives the room back, whichever it is."""
    for reverse in (False, True):
        stand = Stand()
        stand.hear(CONTROLLER, order())
        stand.arrive(keys.LayoutFetch(*KEY), SPEC)
        stand.arrive(keys.BaseFetch(*KEY), BASE)
        stand.hear(A, offer(UPDATE, inline=UPDATE))
        stand.hear(CONTROLLER, StopJob(epoch=1, job=JOB))
        runs = sorted(stand.runs, key=lambda run: run.key.name, reverse=reverse)
        assert {type(run.key) for run in runs} == {keys.BaseCheck, keys.FoldRun}
        stand.tell(Ran(runs[0].key, runs[0].call()))
        assert stand.spools.used > 0
        stand.tell(Ran(runs[1].key, runs[1].call()))
        assert stand.spools.used == 0


def test_what_happens_to_a_round_that_nobody_remembers_is_ignored() -> None:
    """There is nothing to give back, and nothing to wait for."""
    stand = Stand()
    assert stand.tell(Ran(keys.FoldRun(JOB, 9, (A,)), {})) == []
    assert stand.tell(Woke(keys.RoundDeadline(JOB, 9))) == []


def test_a_commit_of_a_round_planned_anew_ends_the_new_plan() -> None:
    """The round is true; nobody need go on with it."""
    stand = Stand()
    stand.open()
    for agent in (A, B, C):
        stand.give(agent)
    commit, weights = stand.commit, stand.out(stand.commit)
    stand.hear(CONTROLLER, order(task=2))
    stand.hear(A, offer(UPDATE, task=2, inline=UPDATE))
    said = Committed(version=version(2, weights), record=commit.record)
    stand.hear(REPOSITORY, said)
    ended = stand.asked(keys.RoundEndReport(JOB, 2), RoundEnded)
    assert ended.record == commit.record
    assert stand.receipts()[A].verdict == "drop"
    stand.work()
    stand.hear(REPOSITORY, said)
    assert stand.last == []


def test_it_announces_nothing_of_itself_and_is_idle_without_rounds() -> None:
    """What is not for it changes nothing."""
    stand = Stand()
    assert stand.core.facts() is None
    assert stand.core.progress() == 0.0
    assert stand.tell(Stopping()) == []
    assert stand.hear(A, object()) == []
