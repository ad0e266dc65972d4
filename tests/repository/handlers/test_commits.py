"""Commits of rounds."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedbus import compression
from fedbus.core.actions import Note
from fedbus.core.events import Received
from fedbus.model.blob import decode, encode
from fedbus.model.frozen_bits import FrozenBits
from fedbus.model.sections import section_numbers, state_layout
from fedbus.simulation.oracle import check_records
from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import CompressedBlob, blob_ref_of
from fedbus.wire.compression import FREEZING_STATE, Freezing
from fedbus.wire.messages import Commit, CommitRefused, Committed, LoadJob, LookedUp, LookUp
from fedbus.wire.round_records import Plan
from fedbus.wire.strategies import Strategy
from fedbus_repository.stores.base import Store
from tests.repository.harness import (
    AGENTS,
    COLLECTOR,
    CONTROLLER,
    FEDAVG,
    FEDAVGM,
    JOB,
    LAYOUT,
    MODEL,
    Harness,
    begin,
    load,
    momentum,
    plan_next,
    put,
    record_of,
    ref_of,
    state_after,
    update,
    weights,
)

OTHER = "collector.2"


@pytest.fixture
def plan(store: Store) -> Plan:
    """A round that is planned."""
    begin(store)
    return plan_next(store)


def commit_of(plan: Plan, content: bytes = weights(1.0)) -> Commit:
    """A collector's wish."""
    return Commit(record=record_of(plan), weights=blob_ref_of(content))


def test_a_round_is_fetched_kept_and_announced(harness: Harness, store: Store, plan: Plan) -> None:
    """Committed is said once it cannot be lost any more."""
    harness.serve(weights(1.0))
    commit = commit_of(plan)
    answers = harness.receive(COLLECTOR, commit)
    version = store.latest()[0]
    facts = {"model": MODEL, "version": 2, "job": JOB, "round": 1}
    assert harness.notes == [Note("version_made", facts)]
    assert answers == [Committed(version=ref_of(version), record=commit.record)]
    latest = harness.latest[-1]
    assert (latest.version, latest.digest, latest.job, latest.round) == (
        2,
        commit.weights.digest,
        JOB,
        1,
    )
    assert check_records(store).rounds == 1


def test_after_the_fetch_it_takes_one_call(harness: Harness, plan: Plan) -> None:
    """Between the last byte and the answer nothing else waits for a thread."""
    harness.handle(Received(COLLECTOR, commit_of(plan)))
    harness.run_next()
    [key] = harness.fetching
    harness.deliver(key, weights(1.0))
    harness.run_next()
    assert not harness.runs
    assert isinstance(harness.sent[-1][1], Committed)


def test_a_commit_that_is_repeated_is_fetched_once(harness: Harness, plan: Plan) -> None:
    """Its collector asks until it is answered, and a large model takes a while."""
    commit = commit_of(plan)
    assert harness.receive(COLLECTOR, commit) == []
    assert harness.receive(COLLECTOR, commit) == []
    assert len(harness.fetching) == 1
    harness.serve(weights(1.0))
    harness.run_all()
    assert len(harness.sent) == 1
    assert isinstance(harness.receive(COLLECTOR, commit)[0], Committed)
    assert not harness.fetching


def test_the_second_collector_gets_the_firsts_record(
    harness: Harness, store: Store, plan: Plan
) -> None:
    """Even if both were fetched; what the second brought is not kept."""
    first = commit_of(plan)
    second = replace(commit_of(plan, weights(2.0)), record=record_of(plan, AGENTS[:1]))
    harness.receive(COLLECTOR, first)
    harness.receive(OTHER, second)
    harness.serve(weights(1.0), weights(2.0))
    harness.run_all()
    assert [to for to, _ in harness.sent] == [COLLECTOR, OTHER]
    assert harness.sent[0][1] == harness.sent[1][1]
    assert harness.sent[1][1].record == first.record
    assert not store.holds(second.weights)


def test_a_restarted_collector_with_another_aggregate_starts_again(
    harness: Harness, store: Store, plan: Plan
) -> None:
    """What its earlier life offered is gone with it."""
    harness.receive(COLLECTOR, commit_of(plan, weights(1.0)))
    again = commit_of(plan, weights(2.0))
    assert harness.receive(COLLECTOR, again) == []
    assert not harness.fetching
    harness.serve(weights(2.0))
    assert harness.receive(COLLECTOR, again)[0].version.weights == again.weights
    assert check_records(store).rounds == 1


def test_a_round_that_does_not_fit_is_refused_unfetched(harness: Harness, store: Store) -> None:
    """The reason is sent to the collector, and logged."""
    begin(store)
    plan = plan_next(store)
    store.end_job(0, JOB, "cancelled", "")
    reason = "job 'digits-1' has ended: cancelled"
    assert harness.receive(COLLECTOR, commit_of(plan)) == [
        CommitRefused(job=JOB, round=1, task=1, reason=reason)
    ]
    assert harness.notes[-1].event == "commit_refused"
    assert harness.notes[-1].facts["reason"] == reason


def test_a_job_that_ends_meanwhile_takes_no_commit(
    harness: Harness, store: Store, plan: Plan
) -> None:
    """It was weighed before, and is weighed again when it is inserted."""
    harness.receive(COLLECTOR, commit_of(plan))
    store.end_job(0, JOB, "cancelled", "")
    harness.serve(weights(1.0))
    harness.run_all()
    assert isinstance(harness.sent[-1][1], CommitRefused)
    assert not store.holds(blob_ref_of(weights(1.0)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (update(1.0), "a delta blob where a plain one belongs"),
        (b"x" * len(weights(1.0)), "not a weights blob"),
    ],
    ids=["a delta", "nonsense"],
)
def test_weights_that_do_not_fit_the_model_are_refused(
    harness: Harness, store: Store, plan: Plan, content: bytes, reason: str
) -> None:
    """No service could load such a version."""
    harness.serve(content)
    [answer] = harness.receive(COLLECTOR, commit_of(plan, content))
    assert reason in answer.reason
    assert load(store).rounds == 0
    assert not store.holds(blob_ref_of(content))


def test_other_bytes_than_promised_are_refused(harness: Harness, store: Store, plan: Plan) -> None:
    """A digest names its content."""
    harness.receive(COLLECTOR, commit_of(plan))
    [key] = harness.fetching
    harness.deliver(key, weights(2.0))
    harness.run_all()
    assert "expected a blob of digest" in harness.sent[-1][1].reason
    assert load(store).rounds == 0


def test_weights_that_do_not_come_are_not_answered(harness: Harness, plan: Plan) -> None:
    """A collector that is alive asks again."""
    commit = commit_of(plan)
    harness.receive(COLLECTOR, commit)
    [key] = harness.fetching
    harness.fail_fetch(key, "collector.1 does not hold it")
    harness.run_all()
    assert harness.sent == []
    assert harness.notes[-1].facts["reason"] == "collector.1 does not hold it"
    harness.serve(weights(1.0))
    assert isinstance(harness.receive(COLLECTOR, commit)[0], Committed)


def test_weights_that_are_here_already_are_not_fetched(harness: Harness, plan: Plan) -> None:
    """A round that changes nothing costs nothing."""
    assert isinstance(harness.receive(COLLECTOR, commit_of(plan, weights(0.0)))[0], Committed)


def commit_with(
    plan: Plan, content: bytes, strategy: Strategy = FEDAVGM, value: float = 1.0
) -> Commit:
    """A commit of a round whose strategy keeps arrays."""
    record = record_of(plan, strategy=strategy, state=state_after(1, content))
    return Commit(record=record, weights=blob_ref_of(weights(value)))


def test_the_state_of_a_strategy_is_fetched_with_the_weights(
    harness: Harness, store: Store, plan: Plan
) -> None:
    """Both are stored by the insert that makes the version, and the next plan has the state."""
    commit = commit_with(plan, momentum(0.5))
    harness.serve(weights(1.0))
    assert harness.receive(COLLECTOR, commit) == []
    assert load(store).rounds == 0
    harness.serve(momentum(0.5))
    harness.run_all()
    assert isinstance(harness.sent[-1][1], Committed)
    assert store.holds(blob_ref_of(momentum(0.5)))
    [loaded] = harness.receive(CONTROLLER, LoadJob(epoch=0, job=JOB))
    assert loaded.state == commit.record.state
    assert check_records(store).rounds == 1


def test_a_state_that_comes_damaged_is_refused_with_its_weights(
    harness: Harness, store: Store, plan: Plan
) -> None:
    """Nothing of the round is kept."""
    harness.serve(weights(1.0))
    harness.receive(COLLECTOR, commit_with(plan, momentum(0.5)))
    [key] = harness.fetching
    harness.deliver(key, momentum(0.75))
    harness.run_all()
    assert "expected a blob of digest" in harness.sent[-1][1].reason
    assert load(store).rounds == 0
    assert not store.holds(blob_ref_of(weights(1.0)))
    assert not store.holds(blob_ref_of(momentum(0.5)))


@pytest.mark.parametrize(
    ("commit", "reason"),
    [
        (
            lambda plan: commit_with(plan, momentum(0.5), FEDAVG),
            "strategy 'fedavg' keeps no arrays, and the round has arrays of its state",
        ),
        (
            lambda plan: Commit(
                record=record_of(plan, strategy=FEDAVGM), weights=blob_ref_of(weights(1.0))
            ),
            "strategy 'fedavgm' keeps momentum, and the round has no arrays of its state",
        ),
        (
            lambda plan: commit_with(plan, bytes(2**16)),
            (
                "the state of strategy 'fedavgm' (momentum): expected the 36 bytes of the layout"
                " and a header, got 65536 bytes"
            ),
        ),
    ],
    ids=["without names", "without arrays", "size"],
)
def test_a_state_that_does_not_fit_is_refused_unfetched(
    harness: Harness,
    store: Store,
    plan: Plan,
    commit: Callable[[Plan], Commit],
    reason: str,
) -> None:
    """Before space is reserved: a wrong size could fill the disk."""
    [answer] = harness.receive(COLLECTOR, commit(plan))
    assert answer == CommitRefused(job=JOB, round=1, task=1, reason=reason)
    assert not harness.fetching
    assert load(store).rounds == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (momentum(0.5, ("variance",)), "a blob of layout "),
        (weights(0.5), "a blob of layout "),
        (b"x" * len(momentum(0.5)), "not a weights blob"),
    ],
    ids=["another name", "weights", "nonsense"],
)
def test_a_state_of_another_layout_is_refused(
    harness: Harness, store: Store, plan: Plan, content: bytes, reason: str
) -> None:
    """The next round's collector could not read it."""
    harness.serve(weights(1.0), content)
    [answer] = harness.receive(COLLECTOR, commit_with(plan, content))
    assert answer.reason.startswith(f"the state of strategy 'fedavgm' (momentum): {reason}")
    assert load(store).rounds == 0
    assert not store.holds(blob_ref_of(content))


THIN = (PluginChoice(id="quantize", parameters={"bits": 8}), PluginChoice(id="zstandard"))
FREEZES = replace(FEDAVG, id="freezes", download=THIN, freezing=Freezing(), state=FREEZING_STATE)
ARRAYS = encode(
    {name: np.zeros(section_numbers(LAYOUT), np.float32) for name in FREEZING_STATE},
    state_layout(LAYOUT, FREEZING_STATE),
)
BITS = FrozenBits(section_numbers(LAYOUT)).blob(LAYOUT)


def thin_blob(value: float = 1.0, steps: tuple[PluginChoice, ...] = THIN) -> bytes:
    """Weights that are smaller."""
    arrays = decode(weights(value), LAYOUT)
    rng = np.random.default_rng(0)
    return bytes(compression.encode(arrays, LAYOUT, steps, rng, content="plain"))


def thin_commit(plan: Plan, thin: bytes | None = None, bits: bytes = bytes(BITS)) -> Commit:
    """A commit of a round of a strategy with thin downloads and frozen numbers."""
    state = replace(state_after(1, bytes(ARRAYS)), frozen=blob_ref_of(bits))
    named = CompressedBlob(blob=blob_ref_of(thin or thin_blob()), compression=THIN)
    record = record_of(plan, strategy=FREEZES, state=state, thin=named)
    return Commit(record=record, weights=blob_ref_of(weights(1.0)))


def test_a_thin_blob_and_frozen_bits_are_stored_with_the_weights(
    harness: Harness, store: Store, plan: Plan
) -> None:
    """The version names both, so agents can ask for them, and the next plan needs the bits."""
    commit = thin_commit(plan)
    harness.serve(weights(1.0), bytes(ARRAYS), bytes(BITS), thin_blob())
    [answer] = harness.receive(COLLECTOR, commit)
    assert isinstance(answer, Committed)
    assert answer.version.thin == commit.record.thin
    assert store.holds(blob_ref_of(thin_blob()))
    [loaded] = harness.receive(CONTROLLER, LoadJob(epoch=0, job=JOB))
    assert loaded.state == commit.record.state
    planned = plan_next(store)
    assert planned.state == commit.record.state
    store.delete_unreferenced([blob_ref_of(bytes(BITS)), blob_ref_of(thin_blob())])
    assert store.holds(blob_ref_of(bytes(BITS)))
    assert store.holds(blob_ref_of(thin_blob()))


@pytest.mark.parametrize(
    ("commit", "reason"),
    [
        (
            lambda plan: thin_commit(plan, thin=bytes(2**16)),
            r"the thin blob: expected \d+ to \d+ bytes, got 65536",
        ),
        (
            lambda plan: thin_commit(plan, bits=bytes(2**16)),
            "the bits of frozen numbers: expected the 2 bytes of the layout and a header",
        ),
    ],
    ids=["a thin blob", "frozen bits"],
)
def test_a_blob_of_an_impossible_size_is_refused_unfetched(
    harness: Harness, plan: Plan, commit: Callable[[Plan], Commit], reason: str
) -> None:
    """Before space is reserved."""
    [answer] = harness.receive(COLLECTOR, commit(plan))
    assert re.match(reason, answer.reason)
    assert not harness.fetching


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (thin_blob(steps=(THIN[0],)), r"the thin blob: a blob compressed with \[\['quantize'"),
        (b"x" * len(thin_blob()), "the thin blob: not a weights blob"),
    ],
    ids=["other steps", "weights"],
)
def test_a_thin_blob_of_other_steps_is_refused(
    harness: Harness, store: Store, plan: Plan, content: bytes, reason: str
) -> None:
    """No agent could read it."""
    harness.serve(weights(1.0), bytes(ARRAYS), bytes(BITS), content)
    [answer] = harness.receive(COLLECTOR, thin_commit(plan, thin=content))
    assert re.match(reason, answer.reason)
    assert load(store).rounds == 0


def test_a_step_that_this_repository_does_not_know_is_refused(harness: Harness, plan: Plan) -> None:
    """By name."""
    steps = (PluginChoice(id="future"),)
    record = record_of(
        plan,
        strategy=replace(FEDAVG, download=steps),
        thin=CompressedBlob(blob=blob_ref_of(b""), compression=steps),
    )
    [answer] = harness.receive(COLLECTOR, Commit(record=record, weights=blob_ref_of(weights(1.0))))
    assert answer.reason.startswith("the thin blob: no compression step 'future'")


def test_an_update_is_looked_up(harness: Harness, store: Store, plan: Plan) -> None:
    """For a collector that has forgotten, or never knew."""
    question = LookUp(job=JOB, agent=AGENTS[0], task=1)
    unknown = LookedUp(job=JOB, agent=AGENTS[0], task=1, verdict="unknown")
    assert harness.receive(COLLECTOR, question) == [unknown]
    store.commit(record_of(plan), put(store, weights(1.0)))
    assert harness.receive(COLLECTOR, question) == [replace(unknown, verdict="stored")]
