"""Open rounds of the collector: commands, answers of agents, restarts, epochs."""

from dataclasses import replace

import pytest

from fedbus.core.events import Connected, Ran, RunFailed, Stopping, Woke
from fedbus.training.params import PluginChoice
from fedbus.wire.messages import (
    Commit,
    Committed,
    Dismiss,
    Dismissed,
    JobStopped,
    LookedUp,
    LookUp,
    OpenRound,
    RoundEnded,
    RoundEndNoted,
    RoundOpened,
    StaleEpoch,
    StopJob,
)
from fedbus.wire.strategies import Strategy
from fedbus_collector import keys
from fedbus_collector.rounds import ended
from fedbus_collector.rounds.ended import MAX_ENDED_ROUNDS
from tests.collector.harness import (
    BASE,
    CONTROLLER,
    JOB,
    REPOSITORY,
    SPEC,
    A,
    B,
    C,
    Harness,
    blob,
    mean,
    offer,
    order,
    version,
)

KEY = (JOB, 1)
UPDATE = blob(1.0, "delta")
SUCCESSOR = "controller.2"


def committed(harness: Harness) -> None:
    """Run a round to its commit."""
    harness.open()
    for agent in (A, B, C):
        harness.give(agent)
    harness.confirm()


@pytest.mark.parametrize(
    "stale",
    [
        order(epoch=3),
        StopJob(epoch=3, job=JOB),
        Dismiss(epoch=3, job=JOB, task=1, agents=(A,), reason="lost"),
    ],
    ids=["open", "stop", "dismiss"],
)
def test_a_command_under_a_lower_epoch_is_refused(stale: object) -> None:
    """Its sender has lost the lease, and the reply says so."""
    harness = Harness()
    harness.open(order(epoch=4))
    harness.receive(SUCCESSOR, stale)
    assert harness.sent_to(SUCCESSOR, StaleEpoch).epoch == 4
    assert len(harness.last) == 1


def test_a_round_end_is_reported_to_the_next_controller() -> None:
    """The next controller opens the round again, and is the round's controller from then on."""
    harness = Harness()
    harness.open()
    harness.receive(SUCCESSOR, order(epoch=2))
    for agent in (A, B, C):
        harness.give(agent)
    harness.confirm()
    assert harness.asks[keys.RoundEndReport(*KEY)].to == SUCCESSOR


def test_a_round_end_is_reported_until_it_is_acknowledged() -> None:
    """And again to each controller that opens the round after that."""
    harness = Harness()
    committed(harness)
    harness.receive(CONTROLLER, RoundEndNoted(job=JOB, task=1))
    assert harness.asks == {}
    harness.receive(SUCCESSOR, order(epoch=2))
    assert harness.asks[keys.RoundEndReport(*KEY)].to == SUCCESSOR
    assert harness.sent_to(SUCCESSOR, RoundOpened).task == 1
    assert harness.fetches == {}


def test_a_round_planned_again_after_its_commit_is_not_collected_again() -> None:
    """The report of the commit had not reached its controller."""
    harness = Harness()
    committed(harness)
    harness.receive(CONTROLLER, order(task=2))
    assert harness.sent_to(CONTROLLER, RoundEnded).task == 1
    assert harness.fetches == {}


def test_a_later_plan_ends_the_one_before() -> None:
    """Its agents may forget; its controller knows already."""
    harness = Harness()
    harness.open()
    harness.give(A)
    harness.receive(CONTROLLER, order(task=2))
    assert harness.receipts()[A].reason == "the round failed: the round was planned again"
    assert harness.asks == {}
    harness.receive(A, offer(UPDATE))
    assert harness.receipts()[A].verdict == "drop"


def test_a_request_for_an_earlier_plan_is_ignored() -> None:
    """Neither while the later round is open nor when it has ended."""
    harness = Harness()
    harness.open(order(round=2, task=2))
    harness.receive(CONTROLLER, order())
    assert harness.fetches == {}
    harness.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    harness.receive(CONTROLLER, order())
    assert harness.fetches == {}
    assert harness.sent(RoundOpened)


def test_the_next_round_cancels_the_report_of_the_last() -> None:
    """The controller that plans the next round knows how the last one ended."""
    harness = Harness()
    committed(harness)
    assert keys.RoundEndReport(*KEY) in harness.asks
    harness.receive(CONTROLLER, order(round=2, task=2, base=version(2)))
    assert harness.asks == {}


def test_a_round_costs_no_more_after_many_than_after_one() -> None:
    """Reports that were acknowledged are not cancelled with every round that follows."""
    harness, costs = Harness(), []
    for task in range(1, 6):
        base = version(task)
        harness.receive(CONTROLLER, order(round=task, task=task, base=base))
        costs.append(len(harness.last))
        harness.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
        harness.receive(CONTROLLER, RoundEndNoted(job=JOB, task=task))
    assert len(set(costs)) == 1


def test_a_dismissal_that_overtakes_its_round_is_not_confirmed() -> None:
    """The controller asks again until the round is open, or has ended."""
    harness = Harness()
    dismiss = Dismiss(epoch=1, job=JOB, task=1, agents=(A,), reason="lost")
    harness.receive(CONTROLLER, dismiss)
    assert harness.last == []
    committed(harness)
    harness.receive(CONTROLLER, dismiss)
    assert harness.sent_to(CONTROLLER, Dismissed).agents == (A,)


def test_a_stopped_job_leaves_nothing_behind() -> None:
    """No ask, no timer, no fetch, no spool; its agents get their receipts."""
    harness = Harness()
    harness.open()
    harness.give(A)
    harness.receive(B, offer(UPDATE))
    harness.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    assert harness.sent_to(CONTROLLER, JobStopped).job == JOB
    assert (harness.asks, harness.timers, harness.fetches) == ({}, {}, {})
    assert harness.receipts().keys() == {A, B}
    assert harness.spools.used == len(BASE)


def test_the_round_end_of_a_stopped_job_is_not_reported() -> None:
    """Its controller knows how the last round ended, or does not need to."""
    harness = Harness()
    committed(harness)
    harness.receive(CONTROLLER, order(job="job-2"))
    harness.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    assert harness.asks == {}
    assert keys.BaseFetch("job-2", 1) in harness.fetches


# ── agents ────────────────────────────────────────────────────────────────────────────────────────


def test_an_offer_for_a_round_that_has_ended_is_answered_from_memory() -> None:
    """Each agent learns whether its update counted."""
    harness = Harness()
    harness.open()
    harness.give(A)
    harness.give(B)
    harness.wait(10.0)
    harness.run_calls()
    harness.confirm()
    harness.receive(A, offer(UPDATE))
    assert harness.receipts()[A].verdict == "stored"
    harness.receive(C, offer(UPDATE))
    assert harness.receipts()[C].verdict == "drop"
    assert harness.receipts()[C].reason == "round 1 ended without this update"


@pytest.mark.parametrize("verdict", ["stored", "drop", "unknown"])
def test_an_offer_for_an_unknown_round_is_looked_up_in_the_repository(verdict: str) -> None:
    """A restarted collector knows nothing; the repository does, or will."""
    harness = Harness()
    harness.receive(A, offer(UPDATE, task=7))
    assert harness.asked(keys.UpdateLookup(JOB, 7, A), LookUp).agent == A
    looked_up = LookedUp(job=JOB, agent=A, task=7, verdict=verdict)  # type: ignore[arg-type]
    harness.receive(REPOSITORY, looked_up)
    assert harness.asks == {}
    assert harness.receipts()[A].verdict == verdict


@pytest.mark.parametrize("verdict", ["stored", "drop", "unknown"])
@pytest.mark.parametrize(
    "command",
    [
        order(task=2),
        order(round=2, task=2, base=version(2)),
        StopJob(epoch=1, job=JOB),
    ],
    ids=["planned again", "next round", "stopped"],
)
def test_a_round_that_ends_while_its_commit_is_undecided_drops_no_update(
    command: OpenRound | StopJob, verdict: str
) -> None:
    """The commit may have succeeded, and its answer may be lost: the repository knows."""
    harness = Harness()
    harness.open()
    for agent in (A, B, C):
        harness.give(agent)
    assert harness.commit
    harness.receive(CONTROLLER, command)
    assert harness.receipts() == {}
    harness.receive(A, offer(UPDATE))
    assert harness.receipts() == {}
    assert harness.asked(keys.UpdateLookup(JOB, 1, A), LookUp).agent == A
    looked_up = LookedUp(job=JOB, agent=A, task=1, verdict=verdict)  # type: ignore[arg-type]
    harness.receive(REPOSITORY, looked_up)
    assert harness.receipts()[A].verdict == verdict


def keeping() -> Strategy:
    """Return a strategy whose objective may keep arrays on agents."""
    return replace(mean(weighted=False), objective=PluginChoice(id="scaffold"))


def test_agents_are_told_to_drop_at_once_if_their_updates_lose_nothing() -> None:
    """Zstandard alone leaves no residual that a wrong `drop` would lose; `cast` does."""
    for name, drops in (("zstandard", True), ("cast", False)):
        harness = Harness(incarnation=6)
        chosen = replace(mean(weighted=False), compression=(PluginChoice(id=name),))
        harness.open(order(strategy=chosen))
        harness.receive(A, offer(UPDATE, base=7))
        assert (A in harness.receipts()) is drops
        assert (keys.UpdateLookup(JOB, 1, A) in harness.asks) is not drops


@pytest.mark.parametrize("verdict", ["stored", "drop", "unknown"])
def test_agents_that_keep_arrays_are_told_to_drop_by_the_repository_only(verdict: str) -> None:
    """A collector that was killed after its commit, and opens the round again, cannot know."""
    harness = Harness(incarnation=6)
    harness.open(order(strategy=keeping()))
    harness.receive(A, offer(UPDATE, base=7))
    assert harness.receipts() == {}
    assert harness.asked(keys.UpdateLookup(JOB, 1, A), LookUp).agent == A
    looked_up = LookedUp(job=JOB, agent=A, task=1, verdict=verdict)  # type: ignore[arg-type]
    harness.receive(REPOSITORY, looked_up)
    assert harness.receipts()[A].verdict == verdict


def test_a_round_that_fails_leaves_agents_that_keep_arrays_to_the_repository() -> None:
    """An earlier process of this collector may have had it committed."""
    harness = Harness(incarnation=6)
    harness.open(order(strategy=keeping()))
    harness.give(A)
    lost = Dismiss(epoch=1, job=JOB, task=1, agents=(B, C), reason="lost")
    harness.receive(CONTROLLER, lost)
    assert harness.ended.version is None
    assert harness.receipts() == {}
    harness.receive(A, offer(UPDATE))
    assert harness.asked(keys.UpdateLookup(JOB, 1, A), LookUp).agent == A


def test_a_restarted_collector_folds_again_from_what_agents_still_hold() -> None:
    """Partial sums are not trusted; the same updates make the same aggregate."""
    before, after = Harness(), Harness(incarnation=6)
    for agent in (A, B, C):
        after.receive(agent, offer(UPDATE))
    before.open()
    after.open()
    for agent in (A, B, C):
        before.give(agent, 2.0)
        after.give(agent, 2.0)
    assert before.commit == after.commit


def test_the_number_of_ended_rounds_kept_is_bounded() -> None:
    """Reports of discarded rounds are cancelled."""
    harness = Harness()
    for number in range(MAX_ENDED_ROUNDS + 1):
        job = f"job-{number}"
        harness.receive(CONTROLLER, order(job=job))
        harness.receive(A, offer(UPDATE))
        harness.handle(Connected())
        for agent in (A, B):
            dismiss = Dismiss(epoch=1, job=job, task=1, agents=(agent,), reason="lost")
            harness.receive(CONTROLLER, dismiss)
    told = {key.job for key in harness.asks if isinstance(key, keys.RoundEndReport)}
    assert len(told) == MAX_ENDED_ROUNDS
    assert "job-0" not in told


def test_fewer_ended_rounds_of_large_cohorts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counted updates need the memory; the last round is always kept."""
    for most, remembered in ((7, [2, 3]), (1, [3])):
        monkeypatch.setattr(ended, "MAX_ENDED_UPDATES", most)
        harness = Harness()
        for number in (1, 2, 3):
            harness.open(order(job=f"job-{number}"))
            for agent in (A, B, C):
                harness.receive(agent, offer(UPDATE, inline=UPDATE, job=f"job-{number}"))
                harness.run_calls()
            harness.confirm(harness.asked(keys.CommitRequest(f"job-{number}", 1), Commit))
        known = []
        for number in (1, 2, 3):
            harness.receive(A, offer(UPDATE, job=f"job-{number}"))
            known += [number] if A in harness.receipts() else []
        assert known == remembered


# ── workers that outlive their round ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("well", [True, False], ids=["done", "failed"])
def test_a_spool_is_not_closed_while_a_worker_reads_it(well: bool) -> None:
    """The spools of an ended round are freed when its worker ends, with or without an error."""
    harness = Harness()
    harness.open()
    harness.receive(A, offer(UPDATE, inline=UPDATE))
    used = harness.spools.used
    harness.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    assert harness.spools.used == used
    (run,) = harness.runs
    assert run.call() == {}  # its spools are as they were
    harness.handle(Ran(run.key, {}) if well else RunFailed(run.key, RuntimeError()))
    assert harness.spools.used == len(BASE)
    assert harness.last == []


def test_two_workers_may_outlive_their_round() -> None:
    """The last one to end frees the spools."""
    for reverse in (False, True):
        harness = Harness()
        harness.receive(CONTROLLER, order())
        harness.complete_fetch(keys.LayoutFetch(*KEY), SPEC)
        harness.complete_fetch(keys.BaseFetch(*KEY), BASE)
        harness.receive(A, offer(UPDATE, inline=UPDATE))
        harness.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
        runs = sorted(harness.runs, key=lambda run: run.key.name, reverse=reverse)
        assert {type(run.key) for run in runs} == {keys.BaseCheck, keys.FoldRun}
        harness.handle(Ran(runs[0].key, runs[0].call()))
        assert harness.spools.used > 0
        harness.handle(Ran(runs[1].key, runs[1].call()))
        assert harness.spools.used == 0


def test_events_of_an_unknown_round_are_ignored() -> None:
    """It has no spools, and no agent waits."""
    harness = Harness()
    assert harness.handle(Ran(keys.FoldRun(JOB, 9, (A,)), {})) == []
    assert harness.handle(Woke(keys.RoundDeadline(JOB, 9))) == []


def test_a_commit_under_an_earlier_plan_ends_the_new_plan() -> None:
    """The round is committed; the new plan is not needed."""
    harness = Harness()
    harness.open()
    for agent in (A, B, C):
        harness.give(agent)
    commit, weights = harness.commit, harness.out(harness.commit)
    harness.receive(CONTROLLER, order(task=2))
    harness.receive(A, offer(UPDATE, task=2, inline=UPDATE))
    said = Committed(version=version(2, weights), record=commit.record)
    harness.receive(REPOSITORY, said)
    ended = harness.asked(keys.RoundEndReport(JOB, 2), RoundEnded)
    assert ended.record == commit.record
    assert harness.receipts()[A].verdict == "drop"
    harness.run_calls()
    harness.receive(REPOSITORY, said)
    assert harness.last == []


def test_a_collector_announces_no_facts_and_is_idle_without_rounds() -> None:
    """What is not for it changes nothing."""
    harness = Harness()
    assert harness.core.facts() is None
    assert harness.core.progress() == 0.0
    assert harness.handle(Stopping()) == []
    assert harness.receive(A, object()) == []
