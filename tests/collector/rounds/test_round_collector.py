"""A round at work: from its order to the commit that makes it true."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedbus.blobs.spool import Spools
from fedbus.core.events import RunFailed, Woke
from fedbus.limits import MAX_SPEC_BYTES
from fedbus.model.blob import decode, encode
from fedbus.model.layout import Layout
from fedbus.training.params import PluginChoice
from fedbus.wire import codec
from fedbus.wire.messages import (
    CommitRefused,
    Committed,
    Decline,
    Dismiss,
    Dismissed,
    Offer,
    RoundEnded,
    RoundOpened,
)
from fedbus.wire.round_traffic import RoundTraffic
from fedbus_collector import keys
from tests.collector.harness import (
    BASE,
    CONTROLLER,
    JOB,
    LAYOUT,
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
    spec_of,
    version,
)

KEY = (JOB, 1)
UPDATE = blob(1.0, "delta")
POISON = blob(float("nan"), "delta")


def weights_of(data: bytes) -> set[float]:
    """List the different numbers of a model's first tensor."""
    return set(decode(data, LAYOUT)["w"].ravel().tolist())


# ── before the first update ───────────────────────────────────────────────────────────────────────


def test_a_round_fetches_the_spec_and_joins_the_multicast_of_the_base() -> None:
    """One member more than the cohort: the agents fetch the same base now."""
    harness = Harness()
    harness.receive(CONTROLLER, order())
    assert harness.sent_to(CONTROLLER, RoundOpened).incarnation == 5
    assert harness.fetches[keys.LayoutFetch(*KEY)].members == 0
    assert harness.fetches[keys.BaseFetch(*KEY)].members == 4
    assert harness.timers[keys.RoundDeadline(*KEY)] == harness.now + 10.0


def test_a_repeated_request_is_confirmed_and_changes_nothing() -> None:
    """The first confirmation may have been lost."""
    harness = Harness()
    harness.receive(CONTROLLER, order())
    fetches = dict(harness.fetches)
    harness.receive(CONTROLLER, order())
    assert harness.sent(RoundOpened) == [action.message for action in harness.last]  # type: ignore[union-attr]
    assert harness.fetches == fetches


def test_the_next_round_finds_spec_and_base_in_the_cache() -> None:
    """The collector has made that base itself."""
    harness = Harness()
    harness.open()
    for agent in (A, B, C):
        harness.give(agent)
    made = harness.out(harness.commit)
    harness.confirm()
    harness.receive(CONTROLLER, order(round=2, task=2, base=version(2, made)))
    assert harness.fetches == {}
    update = offer(UPDATE, round=2, task=2, base=2, inline=UPDATE)
    harness.receive(A, update)
    harness.run_calls()
    assert harness.core.progress() == pytest.approx(1 / 3)


def test_a_round_planned_again_finds_its_base_in_the_cache() -> None:
    """What was fetched for the plan before is not fetched again."""
    harness = Harness()
    harness.open()
    harness.receive(CONTROLLER, order(task=2))
    assert harness.fetches == {}
    assert harness.spools.used > 0


@pytest.mark.parametrize(
    ("what", "other"),
    [
        (keys.LayoutFetch(*KEY), keys.BaseFetch(*KEY)),
        (keys.BaseFetch(*KEY), keys.LayoutFetch(*KEY)),
    ],
    ids=lambda key: key.part,
)
def test_an_input_that_does_not_arrive_is_fetched_again(
    what: keys.RoundInputFetch, other: keys.RoundInputFetch
) -> None:
    """A fetch in progress is not started twice."""
    harness = Harness()
    harness.receive(CONTROLLER, order())
    on_its_way = harness.fetches[other]
    harness.fail_fetch(what)
    assert set(harness.fetches) == {other}
    harness.wait(2.0)
    assert set(harness.fetches) == {what, other}
    assert harness.fetches[other] is on_its_way


def test_a_base_that_is_here_is_not_fetched_again() -> None:
    """When the spec has to be."""
    harness = Harness()
    harness.receive(CONTROLLER, order())
    harness.complete_fetch(keys.BaseFetch(*KEY), BASE)
    harness.run_calls()
    harness.fail_fetch(keys.LayoutFetch(*KEY))
    harness.wait(2.0)
    assert set(harness.fetches) == {keys.LayoutFetch(*KEY)}


def test_a_base_that_has_not_arrived_after_the_deadline_fails_the_round() -> None:
    """Otherwise its job would wait without end."""
    harness = Harness()
    harness.receive(CONTROLLER, order())
    harness.complete_fetch(keys.LayoutFetch(*KEY), SPEC)
    for agent in (A, B):
        harness.give(agent)
    harness.wait(10.0)
    assert keys.RoundEndReport(*KEY) not in harness.asks
    harness.fail_fetch(keys.BaseFetch(*KEY))
    assert harness.ended.reason == "the model's base did not arrive: its source is gone"
    assert set(harness.timers) == set()


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (b"{" + SPEC[1:-1] + b"x", "the model spec's bytes are not those of its digest"),
        (b"{}", "ModelSpec."),
    ],
    ids=["damaged", "no spec"],
)
def test_a_spec_that_cannot_be_used_fails_the_round(spec: bytes, reason: str) -> None:
    """With the reason, at once."""
    harness = Harness()
    named = SPEC if "digest" in reason else spec
    harness.receive(CONTROLLER, order(base=version(spec=named)))
    harness.complete_fetch(keys.LayoutFetch(*KEY), spec)
    assert reason in harness.ended.reason
    assert harness.fetches == {}
    assert harness.spools.used == 0


def test_a_spec_too_large_to_be_one_is_not_fetched() -> None:
    """Nothing is reserved for it."""
    harness = Harness()
    spec = replace(version().spec, size=MAX_SPEC_BYTES + 1)
    harness.receive(CONTROLLER, order(base=replace(version(), spec=spec)))
    assert f"at most {MAX_SPEC_BYTES}" in harness.ended.reason
    assert harness.spools.used == 0


def test_an_aggregator_that_is_not_installed_fails_the_round() -> None:
    """The controller checks too, but this is another machine."""
    harness = Harness()
    harness.open(order(strategy=replace(mean(), aggregator=PluginChoice(id="none-such"))))
    assert harness.ended.reason.startswith("no aggregators plug-in named 'none-such'")


def test_a_base_with_other_bytes_than_its_digest_names_fails_the_round() -> None:
    """And is not kept for the next plan."""
    harness = Harness()
    harness.receive(CONTROLLER, order())
    harness.complete_fetch(keys.LayoutFetch(*KEY), SPEC)
    harness.complete_fetch(keys.BaseFetch(*KEY), BASE[:-4] + b"\0\0\0\1")
    harness.run_calls()
    assert harness.ended.reason == "the base's bytes are not those of its digest"
    harness.receive(CONTROLLER, order(task=2))
    assert keys.BaseFetch(JOB, 2) in harness.fetches
    assert harness.spools.used == len(BASE) + LAYOUT.numbers * 8


# ── updates ───────────────────────────────────────────────────────────────────────────────────────


def test_an_update_in_an_offer_is_folded_at_once() -> None:
    """One without is fetched from its agent."""
    harness = Harness()
    harness.open()
    harness.give(A)
    harness.receive(B, offer(UPDATE))
    assert harness.fetches[keys.UpdateFetch(*KEY, B)].location.source == B
    assert harness.core.progress() == pytest.approx(1 / 3)
    harness.complete_fetch(keys.UpdateFetch(*KEY, B), UPDATE)
    harness.run_calls()
    assert len(harness.noted("quorum_reached")) == 1
    assert harness.core.progress() == pytest.approx(2 / 3)


def test_offers_that_come_before_the_spec_wait_for_it() -> None:
    """The one with the bytes is kept, whatever is repeated without them."""
    harness = Harness()
    harness.receive(CONTROLLER, order())
    harness.receive(A, offer(UPDATE, inline=UPDATE))
    harness.receive(A, offer(UPDATE))
    harness.complete_fetch(keys.LayoutFetch(*KEY), SPEC)
    assert keys.UpdateFetch(*KEY, A) not in harness.fetches
    harness.run_calls()
    assert harness.core.progress() == pytest.approx(1 / 3)


def test_an_agent_refused_before_the_spec_arrived_does_not_count_after() -> None:
    """A dismissal is a dismissal."""
    harness = Harness()
    harness.receive(CONTROLLER, order())
    harness.receive(A, offer(UPDATE, inline=UPDATE))
    harness.receive(CONTROLLER, Dismiss(epoch=1, job=JOB, task=1, agents=(A,), reason="lost"))
    harness.complete_fetch(keys.LayoutFetch(*KEY), SPEC)
    assert harness.runs == []
    harness.receive(A, offer(UPDATE, inline=UPDATE))
    assert harness.receipts()[A].reason == "lost"


def test_a_repeated_offer_changes_nothing() -> None:
    """While it is fetched, while it is folded, and when it has counted."""
    harness = Harness()
    harness.open()
    harness.receive(A, offer(UPDATE))
    for _ in range(3):
        harness.receive(A, offer(UPDATE, examples=99))
        assert harness.last == []
        if harness.fetches:
            harness.complete_fetch(keys.UpdateFetch(*KEY, A), UPDATE)
        else:
            harness.run_calls()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (offer(UPDATE, base=7), "trained from version 7, not 1"),
        (offer(UPDATE[:-4]), f"expected an update of {len(UPDATE)} bytes, got {len(UPDATE) - 4}"),
        (offer(POISON, inline=POISON), "is not a finite number"),
    ],
    ids=["stale", "size", "not a number"],
)
def test_an_update_that_cannot_count_is_refused_with_its_reason(said: Offer, reason: str) -> None:
    """Its agent may forget it; the record says why; the others make the round."""
    harness = Harness()
    harness.open()
    harness.receive(A, said)
    harness.run_calls()
    assert reason in harness.receipts()[A].reason
    harness.give(B)
    harness.give(C)
    (refusal,) = harness.commit.record.refusals
    assert refusal.agent == A


def test_one_worker_folds_all_that_came_while_the_last_was_busy() -> None:
    """Never two at once: they share the total."""
    harness = Harness()
    harness.open()
    for agent in (A, B, C):
        harness.receive(agent, offer(UPDATE, inline=UPDATE))
    assert [run.key for run in harness.runs] == [keys.FoldRun(*KEY, (A,))]
    harness.run_calls()
    assert harness.runs == []
    assert len(harness.commit.record.contributors) == 3


def test_an_update_that_does_not_arrive_frees_its_place() -> None:
    """Its agent offers again when it is back, and is fetched again."""
    harness = Harness()
    harness.open()
    used = harness.spools.used
    harness.receive(A, offer(UPDATE))
    harness.fail_fetch(keys.UpdateFetch(*KEY, A))
    assert harness.spools.used == used
    harness.receive(A, offer(UPDATE))
    assert keys.UpdateFetch(*KEY, A) in harness.fetches


def test_a_dismissed_agent_is_waited_for_no_more() -> None:
    """What it was sending is not wanted any more; what had come still counts."""
    harness = Harness()
    harness.open()
    harness.give(A)
    harness.receive(B, offer(UPDATE))
    harness.receive(CONTROLLER, Dismiss(epoch=1, job=JOB, task=1, agents=(A, B), reason="lost"))
    assert harness.sent_to(CONTROLLER, Dismissed).agents == (A, B)
    assert harness.fetches == {}
    harness.give(C)
    assert [c.agent for c in harness.commit.record.contributors] == [A, C]


def test_a_declined_task_is_waited_for_no_more() -> None:
    """Its agent is told that this was heard, as often as it says so."""
    harness = Harness()
    harness.open()
    decline = Decline(job=JOB, round=1, task=1, reason="out of memory")
    for _ in range(2):
        harness.receive(A, decline)
        assert harness.receipts()[A].verdict == "drop"
    harness.receive(B, Decline(job=JOB, round=1, task=1, reason="me too"))
    assert harness.ended.reason == (
        "0 of 3 updates, 2 are needed; 1 left out: out of memory; 1 left out: me too; "
        "1 not waited for"
    )
    harness.receive(C, decline)
    assert harness.receipts()[C].reason == "noted"


# ── the end ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("weighted", "mean"), [(True, 4.0), (False, 3.0)])
def test_a_round_closes_when_all_have_come(weighted: bool, mean: float) -> None:
    """The aggregate is the base plus the mean, and is there to be fetched."""
    harness = Harness()
    harness.open(order(weighted=weighted))
    for agent, value, examples in ((A, 1.0, 10), (B, 3.0, 10), (C, 5.0, 40)):
        harness.give(agent, value, examples)
    out = harness.out(harness.commit)
    assert weights_of(out) == {1.0 + mean}
    record = harness.commit.record
    assert (record.task, record.parent, len(record.contributors)) == (1, 1, 3)
    assert {"collected", "aggregated", "last_update"} <= record.seconds.keys()
    size = order().plan.base.weights.size
    assert record.traffic == RoundTraffic(updates=3 * size, version=size, plain=size)
    assert keys.RoundEndReport(*KEY) not in harness.asks


def test_a_round_closes_at_its_deadline_with_a_quorum() -> None:
    """Late agents do not hold the others back."""
    harness = Harness()
    harness.open()
    harness.give(A)
    harness.give(B)
    harness.receive(C, offer(UPDATE))
    harness.wait(10.0)
    assert harness.fetches == {}
    harness.run_calls()
    assert [r.agent for r in harness.commit.record.refusals] == [C]
    harness.receive(C, offer(UPDATE, inline=UPDATE))
    assert harness.receipts()[C].reason == "the offer came after the deadline"
    assert harness.runs == []


def test_a_round_without_a_quorum_at_its_deadline_fails() -> None:
    """Agents with an accepted offer are told to delete their updates."""
    harness = Harness()
    harness.open()
    harness.give(A)
    harness.wait(10.0)
    assert harness.ended.version is None
    assert harness.ended.reason == "1 of 3 updates, 2 are needed; 2 sent none in time"
    assert harness.receipts()[A].verdict == "drop"
    assert harness.spools.used == len(BASE)  # for the round that is planned again


def test_what_is_being_folded_at_the_deadline_still_counts() -> None:
    """It was here in time."""
    harness = Harness()
    harness.open()
    harness.receive(A, offer(UPDATE, inline=UPDATE))
    harness.receive(B, offer(UPDATE, inline=UPDATE))
    harness.wait(10.0)
    assert keys.RoundEndReport(*KEY) not in harness.asks
    harness.run_calls()
    assert len(harness.commit.record.contributors) == 2


def test_a_round_that_may_close_waits_for_its_base() -> None:
    """Updates may be here before it."""
    harness = Harness()
    harness.receive(CONTROLLER, order())
    harness.complete_fetch(keys.LayoutFetch(*KEY), SPEC)
    for agent in (A, B, C):
        harness.give(agent)
    assert keys.CommitRequest(*KEY) not in harness.asks
    harness.complete_fetch(keys.BaseFetch(*KEY), BASE)
    harness.run_calls()
    assert harness.commit.weights.size == len(BASE)


def test_a_committed_round_is_reported_to_controller_and_agents() -> None:
    """To the controller until it acknowledges, to each agent with an accepted offer."""
    harness = Harness()
    harness.open()
    for agent in (A, B, C):
        harness.give(agent)
    commit = harness.commit
    harness.confirm()
    assert {agent: r.verdict for agent, r in harness.receipts().items()} == dict.fromkeys(
        (A, B, C), "stored"
    )
    assert harness.ended.version is not None
    assert harness.ended.record == commit.record
    assert harness.served == {}
    assert set(harness.asks) == {keys.RoundEndReport(*KEY)}
    assert harness.spools.used == len(BASE)  # the base of the next round


def test_a_round_that_another_collector_committed_ends_with_that_commit() -> None:
    """Agents whose updates counted there get a receipt; the own aggregate is discarded."""
    harness = Harness()
    harness.open()
    for agent in (A, B, C):
        harness.give(agent)
    harness.receive(C, offer(UPDATE))
    ours = harness.commit
    theirs = replace(ours.record, contributors=ours.record.contributors[:2])
    harness.receive(REPOSITORY, Committed(version=version(2, blob(9.0)), record=theirs))
    verdicts = {agent: r.verdict for agent, r in harness.receipts().items()}
    assert verdicts == {A: "stored", B: "stored", C: "drop"}
    assert harness.ended.record == theirs
    assert harness.spools.used == 0
    assert harness.served == {}


def test_a_commit_that_is_refused_fails_the_round() -> None:
    """With the repository's reason."""
    harness = Harness()
    harness.open()
    for agent in (A, B, C):
        harness.give(agent)
    harness.receive(REPOSITORY, CommitRefused(job=JOB, round=1, task=9, reason="of another task"))
    assert harness.last == []
    refused = CommitRefused(job=JOB, round=1, task=1, reason="not the plan any more")
    harness.receive(REPOSITORY, refused)
    assert harness.ended.reason == "the repository refused the commit: not the plan any more"
    assert harness.receipts()[A].verdict == "drop"
    assert set(harness.asks) == {keys.RoundEndReport(*KEY)}


def test_an_aggregation_that_fails_fails_the_round_and_frees_its_spools() -> None:
    """An aggregate may not fit its dtype; the base is kept for the next plan."""
    harness = Harness()
    harness.open()
    harness.give(A)
    harness.give(B)
    harness.receive(CONTROLLER, Dismiss(epoch=1, job=JOB, task=1, agents=(C,), reason="lost"))
    (run,) = harness.runs
    harness.handle(RunFailed(run.key, ValueError("overflow")))
    assert harness.ended.reason == "aggregate: overflow"
    assert harness.spools.used == len(BASE)


def test_a_reason_of_any_length_makes_messages_that_can_be_read() -> None:
    """An error's sentence may be a page."""
    harness = Harness()
    harness.open()
    harness.give(A)
    reason = "because " * 510
    harness.receive(REPOSITORY, CommitRefused(job=JOB, round=1, task=1, reason=reason))
    for message in (harness.ended, harness.receipts()[A]):
        assert codec.unpack(type(message), codec.pack(message)) == message


# ── room ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_disk_that_cannot_be_used_fails_the_round_and_not_the_service(tmp_path: Path) -> None:
    """No file can be made for what does not fit into memory."""
    harness = Harness(Spools(0, tmp_path / "gone"))
    harness.receive(CONTROLLER, order())
    assert harness.ended.reason.startswith("spool: No such file or directory")


def test_room_runs_out_in_the_middle_of_a_round(tmp_path: Path) -> None:
    """An update without room for its spool fails the round; the other spools are freed."""
    folder = tmp_path / "spools"
    folder.mkdir()
    harness = Harness(Spools(0, folder))
    harness.open()
    folder.rmdir()
    harness.receive(A, offer(UPDATE, inline=UPDATE))
    assert harness.ended.reason.startswith("spool: No such file or directory")


def test_a_round_in_files_makes_the_same_aggregate(tmp_path: Path) -> None:
    """Memory is a matter of speed only."""
    harness = Harness(Spools(0, tmp_path))
    harness.open()
    for agent, value in ((A, 1.0), (B, 3.0), (C, 5.0)):
        harness.give(agent, value)
    assert weights_of(harness.out(harness.commit)) == {4.0}
    assert list(tmp_path.iterdir()) == []
    harness.confirm()


def test_a_timer_of_something_else_does_nothing() -> None:
    """Keys are matched in full."""
    harness = Harness()
    harness.open()
    assert harness.handle(Woke(keys.RoundKey(*KEY))) == []


def test_a_small_version_rides_along_when_its_round_is_told_first() -> None:
    """Its bytes are not repeated, however often the end is."""
    harness = Harness()
    harness.open()
    for agent in (A, B, C):
        harness.give(agent)
    made = harness.out(harness.commit)
    harness.confirm()
    first = harness.asks[keys.RoundEndReport(*KEY)].first
    assert isinstance(first, RoundEnded)
    assert (first.inline, harness.ended.inline) == (made, None)
    assert replace(first, inline=None) == harness.ended


def test_a_large_version_does_not_ride_along() -> None:
    """Nodes that need its weights fetch them."""
    arrays = {"w": np.zeros(5000, np.float32)}
    layout = Layout.of(arrays)
    base, spec = bytes(encode(arrays, layout)), spec_of(layout)
    update = bytes(encode(arrays, layout, "delta"))
    harness = Harness()
    harness.receive(CONTROLLER, order(base=version(1, base, spec)))
    harness.complete_fetch(keys.LayoutFetch(*KEY), spec)
    harness.complete_fetch(keys.BaseFetch(*KEY), base)
    for agent in (A, B, C):
        harness.receive(agent, offer(update, inline=update))
        harness.run_calls()
    harness.confirm()
    assert harness.ended.version is not None
    assert harness.asks[keys.RoundEndReport(*KEY)].first is None
