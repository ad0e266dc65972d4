"""Private rounds: the ledger's entry first, then the noise; whatever is lost or repeated."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedbus.core.actions import Run
from fedbus.core.events import Ran, Woke
from fedbus.errors import FedbusError
from fedbus.model.layout import Layout
from fedbus.plugins import Block, Combined, RoundNoise
from fedbus.privacy.ledger_entries import entry_of_plan, entry_of_round
from fedbus.privacy.update_set import digest_of_update_set
from fedbus.wire import codec
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.documents import ModelSpec, TensorSpec
from fedbus.wire.messages import (
    Committed,
    Dismiss,
    NoiseRecorded,
    NoiseRefused,
    StopJob,
)
from fedbus.wire.privacy import OF_EACH_AGENT, NoiseStep
from fedbus.wire.strategies import StrategyState
from fedbus_collector import keys
from fedbus_collector.noise_key_watch import NoiseKeyWatch
from fedbus_collector.rounds.progress import RoundPhase, RoundProgress
from fedbus_collector.rounds.round_privacy import RoundPrivacy
from tests.collector.aggregation.private_parts import AddsNoise
from tests.collector.harness import (
    BASE,
    CONTROLLER,
    JOB,
    LAYOUT,
    REPOSITORY,
    A,
    B,
    C,
    arrays,
    blob,
    offer,
    order,
    spec_of,
    version,
)
from tests.collector.private_rounds import (
    SPENT,
    TERMS,
    PrivateParts,
    PrivateRound,
    strategy,
)
from tests.fedbus.privacy.contributors import contributors_of

KEY = (JOB, 1)
GIVEN = {A: 1.0, B: 2.0, C: 3.0}
ONES = np.concatenate([arrays(1.0)[tensor.name].ravel() for tensor in LAYOUT.tensors])
REFUSED = NoiseRefused(job=JOB, task=1, reason="agent.a took part 3 rounds ago")


# ── order ─────────────────────────────────────────────────────────────────────────────────────────


def test_noise_is_drawn_after_the_ledger_has_its_entry(tmp_path: Path) -> None:
    """And the version is the base, the sum over the wanted number, and the noise of this entry."""
    round_ = PrivateRound(tmp_path)
    round_.begin()
    round_.give_all()
    entry = round_.entry
    updates = {agent: blob_ref_of(blob(value, "delta")).digest for agent, value in GIVEN.items()}
    assert entry == entry_of_round(round_.order().plan, TERMS, contributors_of(updates))
    assert round_.runs == []
    assert keys.CommitRequest(*KEY) not in round_.asks
    assert round_.part.seen == []
    round_.record()
    wanted = ONES + ONES * 6 / 4 + round_.noise(entry)
    np.testing.assert_array_equal(round_.version(), wanted.astype(np.float32))
    assert keys.LedgerRequest(*KEY) not in round_.asks
    (said,) = round_.noted("noise_recorded")
    assert (said["epsilon"], said["entries"]) == (0.5, 1)


def test_the_record_has_what_is_spent_and_no_metrics(tmp_path: Path) -> None:
    """Losses are functions of the agents' data without noise."""
    round_ = PrivateRound(tmp_path)
    round_.begin()
    round_.give_all()
    round_.record()
    record = round_.commit.record
    assert (record.privacy, record.metrics) == (SPENT, {})
    assert [(c.metrics, c.coefficient) for c in record.contributors] == [({}, 0.25)] * 3
    assert "recorded" in record.seconds
    round_.confirm()
    assert round_.ended.record == record
    assert round_.spools.used == len(BASE)


def test_a_repeated_answer_changes_nothing(tmp_path: Path) -> None:
    """Neither before nor after the noise was drawn, nor the answer to another task."""
    round_ = PrivateRound(tmp_path)
    round_.begin()
    answer = round_.record()
    round_.receive(REPOSITORY, REFUSED)
    assert round_.last == []
    round_.give_all()
    round_.receive(REPOSITORY, replace(answer, task=7))
    round_.receive(REPOSITORY, replace(REFUSED, task=7))
    assert round_.last == []
    round_.record()
    commit = round_.commit
    for late in (answer, REFUSED):
        round_.receive(REPOSITORY, late)
        assert round_.last == []
    assert round_.commit == commit


def test_a_refused_entry_fails_the_round(tmp_path: Path) -> None:
    """No noise is drawn, and the agents may forget their updates."""
    round_ = PrivateRound(tmp_path)
    round_.begin()
    round_.give_all()
    round_.refuse(REFUSED)
    why = "the ledger takes no entry for this round: agent.a took part 3 rounds ago"
    assert round_.ended.reason == why
    assert {agent: r.verdict for agent, r in round_.receipts().items()} == dict.fromkeys(
        (A, B, C), "drop"
    )
    assert round_.part.seen == []
    assert round_.runs == []
    assert round_.spools.used == len(BASE)


def test_there_is_room_for_the_version_before_its_noise_is_paid_for(tmp_path: Path) -> None:
    """A full disk costs a round, but no ε."""
    round_ = PrivateRound(tmp_path)
    round_.begin()
    before = round_.spools.used
    round_.give_all()
    assert round_.spools.used == before + len(BASE)


@pytest.mark.parametrize("when", ["recording", "aggregating", "committing"])
def test_the_deadline_ends_no_round_that_has_its_updates(tmp_path: Path, when: str) -> None:
    """The repository may take longer to answer."""
    round_ = PrivateRound(tmp_path)
    round_.begin()
    round_.give_all()
    if when == "aggregating":
        asked = round_.entry.updates
        answer = NoiseRecorded(job=JOB, task=1, spent=SPENT, updates=asked)
        round_.receive(REPOSITORY, answer)
    elif when == "committing":
        round_.record()
    round_.wait(11.0)
    if when == "recording":
        round_.record()
    round_.run_calls()
    assert round_.commit.record.privacy == SPENT


@pytest.mark.parametrize("how", ["stopped", "planned again"])
@pytest.mark.parametrize("when", ["preparing", "collecting", "recording", "committing"])
def test_a_round_is_abandoned_in_each_phase(tmp_path: Path, when: str, how: str) -> None:
    """Nothing is asked any more, and a late answer draws no noise."""
    round_ = PrivateRound(tmp_path)
    round_.receive(CONTROLLER, round_.order())
    if when != "preparing":
        round_.complete_fetch(keys.LayoutFetch(*KEY), spec_of())
        round_.complete_fetch(keys.BaseFetch(*KEY), BASE)
    round_.run_calls()
    if when in {"recording", "committing"}:
        round_.give_all()
    if when == "committing":
        round_.record()
    if how == "stopped":
        round_.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    else:
        round_.receive(CONTROLLER, round_.order(task=2))
        round_.run_calls()
    drawn = len(round_.part.seen)
    assert keys.LedgerRequest(*KEY) not in round_.asks
    assert keys.CommitRequest(*KEY) not in round_.asks
    round_.record()
    assert len(round_.part.seen) == drawn


def test_another_collectors_commit_ends_a_round_that_waits_for_its_entry(tmp_path: Path) -> None:
    """An earlier process here had it committed before it was killed."""
    first = PrivateRound(tmp_path)
    first.begin()
    first.give_all()
    first.record()
    second = PrivateRound(tmp_path)
    second.begin()
    second.give_all()
    record = first.commit.record
    second.receive(
        REPOSITORY, Committed(version=version(2, first.out(first.commit)), record=record)
    )
    assert second.ended.record == record
    assert keys.LedgerRequest(*KEY) not in second.asks
    assert {r.verdict for r in second.receipts().values()} == {"stored"}


# ── restarts ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("killed", ["opened", "collecting", "recording", "recorded", "committing"])
def test_a_restarted_collector_repeats_the_entry_and_the_noise(tmp_path: Path, killed: str) -> None:
    """The same updates in another order give the same entry, and the same bytes."""
    first = PrivateRound(tmp_path)
    first.begin()
    if killed != "opened":
        first.give_all((A, B, C) if killed != "collecting" else (A,))
    entry = first.entry if killed in {"recording", "recorded", "committing"} else None
    if killed in {"recorded", "committing"}:
        first.record()
    commit = first.commit if killed == "committing" else None
    second = PrivateRound(tmp_path, incarnation=6)
    second.begin()
    second.give_all((C, A, B))
    assert entry in {None, second.entry}
    expected = second.noise(second.entry)
    second.record()
    np.testing.assert_array_equal(second.version(), (ONES * 2.5 + expected).astype(np.float32))
    assert commit is None or second.commit.weights == commit.weights


def test_another_set_of_updates_has_another_entry_and_other_noise(tmp_path: Path) -> None:
    """The ledger refuses it, so its noise is never drawn."""
    first, second = PrivateRound(tmp_path), PrivateRound(tmp_path)
    for round_, agents in ((first, (A, B, C)), (second, (A, B))):
        round_.begin()
        round_.give_all(agents)
    second.wait(11.0)
    assert second.entry.agents == (A, B)
    assert second.entry.updates != first.entry.updates
    assert not np.array_equal(first.noise(first.entry), second.noise(second.entry))
    second.refuse(REFUSED)
    assert second.part.seen == []


def test_an_answer_to_an_earlier_process_about_another_set_is_ignored(tmp_path: Path) -> None:
    """The repository had been asked for other updates before this process was started."""
    first, second = PrivateRound(tmp_path), PrivateRound(tmp_path, incarnation=6)
    first.begin()
    first.give_all((A, B))
    first.wait(11.0)
    second.begin()
    second.give_all()
    late = NoiseRecorded(job=JOB, task=1, spent=SPENT, updates=first.entry.updates)
    for answer in (late, replace(REFUSED, updates=first.entry.updates), REFUSED):
        second.receive(REPOSITORY, answer)
        assert second.last == []
    assert second.part.seen == []
    second.record()
    assert second.commit.record.privacy == SPENT


# ── terms ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "terms",
    [
        {"release": "laplace", **OF_EACH_AGENT, "relation": "replace-one"},
        {"release": "dp-sgd", **OF_EACH_AGENT, "relation": "zero-out"},
    ],
    ids=["ldp", "dp-sgd"],
)
def test_what_agents_protect_alone_needs_no_key_and_has_the_plans_entry(
    tmp_path: Path, terms: dict[str, str]
) -> None:
    """The collector asks with the equal entry what the job has spent."""
    round_ = PrivateRound(tmp_path, parts=PrivateParts(part=None))
    round_.begin(noise_key=None, terms=terms)
    round_.give_all((A, B))
    round_.receive(C, offer(b"", 10, base=7))
    asked = strategy(**terms).privacy
    assert asked is not None
    assert round_.entry == entry_of_plan(round_.order().plan, asked)
    assert round_.entry.agents == (A, B, C)
    round_.record()
    np.testing.assert_array_equal(round_.version(), ONES * (1 + 3 / 4))
    assert round_.commit.record.privacy == SPENT


def test_noise_of_agents_is_entered_with_how_many_came(tmp_path: Path) -> None:
    """Half of the wanted four have half of the variance."""
    round_ = PrivateRound(tmp_path, AddsNoise(clipping_norm=100.0, collector_draws_noise=False))
    round_.begin(noise_key=None, terms={"noise": "agents"}, cohort=(A,), quorum=1)
    round_.give(A, 4.0)
    assert (round_.entry.agents, round_.entry.noise_multiplier) == ((A,), 0.5)
    round_.record()
    np.testing.assert_array_equal(round_.version(), ONES * 2)


def test_banded_noise_needs_all_steps_of_the_ledger(tmp_path: Path) -> None:
    """Its mechanism draws the noise of earlier entries again."""
    round_ = PrivateRound(tmp_path)
    round_.begin(terms={"release": "banded", "correlated": True, "bands": 3})
    round_.give_all()
    updates = round_.entry.updates
    assert updates is not None
    earlier = NoiseStep(round=1, task=1, updates="0" * 64)
    own = NoiseStep(round=1, task=1, updates=updates)
    round_.record(steps=(earlier, own), spent=replace(SPENT, entries=2))
    assert round_.commit.record.privacy == replace(SPENT, entries=2)


@pytest.mark.parametrize(
    ("release", "own_last", "entries"),
    [("banded", True, 2), ("banded", False, 1), ("gaussian", False, 1)],
)
def test_an_answer_about_other_steps_fails_the_round(
    tmp_path: Path, release: str, own_last: bool, entries: int
) -> None:
    """Noise for the wrong place in the sequence would not cancel what was drawn before."""
    round_ = PrivateRound(tmp_path)
    round_.begin(terms={"release": release, "correlated": release == "banded"})
    round_.give_all()
    digest = round_.entry.updates if own_last else "0" * 64
    assert digest is not None
    step = NoiseStep(round=1, task=1, updates=digest)
    round_.record(steps=(step,), spent=replace(SPENT, entries=entries))
    assert round_.ended.reason.startswith("the ledger's steps do not end with this round's")
    assert round_.part.seen == []


def test_numbers_of_the_state_go_to_the_mechanism_and_to_the_record(tmp_path: Path) -> None:
    """A clipping norm that adapts: the bound of this round is the last one's number."""
    round_ = PrivateRound(tmp_path)
    before = StrategyState(rounds=3, numbers={"clipping_norm": 5.0, "other": 1.0})
    round_.begin(state=before)
    round_.give(A, 1.0)
    round_.give(B, 2.0)
    assert round_.receipts()[B].reason == "its norm is 8.48528, above 5"
    round_.give(C, 1.0)
    round_.record()
    state = round_.commit.record.state
    assert state is not None
    assert state.rounds == 4
    assert state.numbers["clipping_norm"] == 50.0
    assert state.numbers["other"] == 1.0
    assert [one.norm for one in round_.part.facts] == [np.sqrt(18.0)] * 2
    assert [r.agent for r in round_.commit.record.refusals] == [B]


def test_a_failed_private_round_states_no_figure_of_an_agent(tmp_path: Path) -> None:
    """Its reason is published; the norm of an update is in the log and in the agent's receipt."""
    round_ = PrivateRound(tmp_path)
    round_.begin(quorum=3)
    round_.give(A, 1000.0)
    assert round_.ended.reason == (
        "0 of 3 updates, 3 are needed; 1 left out: the reason is in the collector's log; "
        "2 not waited for"
    )
    assert "above 100" in round_.noted("update_refused")[0]["reason"]


def test_an_aggregate_that_fails_states_no_figure_of_an_update(tmp_path: Path) -> None:
    """A part may name numbers that have no noise yet; the log has the sentence."""

    class Talks(AddsNoise):
        def add_noise(self, combined: Combined, noise: RoundNoise | None) -> Block:
            """Name the first number."""
            raise ValueError(f"cannot use {combined.update[0]} {noise}")

    round_ = PrivateRound(tmp_path, Talks(clipping_norm=100.0))
    round_.begin()
    round_.give_all()
    round_.record()
    assert round_.ended.reason == "aggregate: it failed; the reason is in the collector's log"
    (said,) = round_.noted("round_work_failed")
    assert "cannot use 3.0 KeyedNoise(job='job-1', step=0)" in said["error"]


def test_a_private_round_is_not_in_the_progress_of_its_collector(tmp_path: Path) -> None:
    """A share of the answers would tell how many agents were drawn."""
    round_ = PrivateRound(tmp_path)
    round_.begin()
    round_.give_all((A,))
    assert round_.core.progress() == 0.0
    other = order(job="job-2")
    round_.receive(CONTROLLER, other)
    round_.receive(CONTROLLER, Dismiss(epoch=1, job="job-2", task=1, agents=(A,), reason="lost"))
    assert round_.core.progress() == pytest.approx(1 / 3)


@pytest.mark.parametrize("release", ["gaussian", "dp-sgd", "features"])
def test_a_model_with_statistics_has_no_private_round(tmp_path: Path, release: str) -> None:
    """They would be sent without noise; the repository has refused the job, too.

    Features have their noise before any training.
    """
    base = arrays(1.0)
    layout = Layout.of(base, {"b": "statistic"})
    spec = spec_with_roles(layout)
    noise = "collector" if release == "gaussian" else "agents"
    parts = None if release == "gaussian" else PrivateParts(part=None)
    round_ = PrivateRound(tmp_path, parts=parts)
    ordered = round_.order(base=version(spec=spec), terms={"release": release, "noise": noise})
    round_.receive(CONTROLLER, ordered)
    round_.complete_fetch(keys.LayoutFetch(*KEY), spec)
    if release == "features":
        assert keys.RoundEndReport(*KEY) not in round_.asks
    else:
        why = "a private job cannot share b: only trained floating-"
        assert round_.ended.reason.startswith(why)


def spec_with_roles(layout: Layout) -> bytes:
    """Write a spec with the roles of its tensors."""
    tensors = tuple(
        TensorSpec(name=t.name, shape=t.shape, dtype=t.dtype, role=t.role) for t in layout.tensors
    )
    return codec.to_json(ModelSpec(model="tiny", layout=tensors, architectures={}))


# ── Poisson sampling ──────────────────────────────────────────────────────────────────────────────


def test_a_round_without_an_agent_commits_noise_at_once(tmp_path: Path) -> None:
    """The base is fetched from the repository alone: no agent joins a multicast."""
    round_ = PrivateRound(tmp_path)
    round_.receive(CONTROLLER, round_.order(cohort=(), quorum=0))
    assert round_.fetches[keys.BaseFetch(*KEY)].members == 0
    round_.open(round_.order(cohort=(), quorum=0))
    round_.run_calls()
    entry = round_.entry
    assert (entry.agents, entry.updates) == ((), digest_of_update_set(()))
    round_.record()
    wanted = (ONES + round_.noise(entry)).astype(np.float32)
    np.testing.assert_array_equal(round_.version(), wanted)
    record = round_.commit.record
    assert (record.contributors, record.refusals, record.metrics) == ((), (), {})
    assert record.privacy == SPENT
    round_.confirm()
    assert round_.ended.version is not None


def test_a_round_without_an_agent_waits_for_its_model(tmp_path: Path) -> None:
    """Its base may arrive before the spec, without which its parts are not made."""
    round_ = PrivateRound(tmp_path)
    round_.receive(CONTROLLER, round_.order(cohort=(), quorum=0))
    round_.complete_fetch(keys.BaseFetch(*KEY), BASE)
    round_.run_calls()
    assert keys.LedgerRequest(*KEY) not in round_.asks
    round_.complete_fetch(keys.LayoutFetch(*KEY), spec_of())
    assert round_.entry.agents == ()


def test_with_quorum_0_the_deadline_closes_a_round_with_what_came(tmp_path: Path) -> None:
    """Also if that is nothing."""
    round_ = PrivateRound(tmp_path)
    round_.begin(quorum=0)
    assert keys.LedgerRequest(*KEY) not in round_.asks
    round_.wait(11.0)
    assert round_.entry.agents == ()
    round_.record()
    refusals = round_.commit.record.refusals
    assert {one.reason for one in refusals} == {"no update by the deadline"}


def test_a_round_closes_after_its_last_agent_was_refused(tmp_path: Path) -> None:
    """It waits for none any more, and its noise is committed."""
    round_ = PrivateRound(tmp_path)
    round_.begin(quorum=0)
    lost = Dismiss(epoch=1, job=JOB, task=1, agents=(A, B, C), reason="lost")
    round_.receive(CONTROLLER, lost)
    assert round_.entry.agents == ()


# ── key ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_round_waits_for_its_key(tmp_path: Path) -> None:
    """All updates may be here before the file is read."""
    round_ = PrivateRound(tmp_path)
    round_.receive(CONTROLLER, round_.order(cohort=(), quorum=0))
    (read,) = (action for action in round_.last if isinstance(action, Run))
    assert read.key == keys.NoiseKeyRead(*KEY)
    round_.runs.clear()
    round_.open(round_.order(cohort=(), quorum=0))
    assert keys.LedgerRequest(*KEY) not in round_.asks
    round_.handle(Ran(read.key, read.call()))
    assert round_.entry.agents == ()


def test_a_round_that_ends_while_its_key_is_read_is_freed_later(tmp_path: Path) -> None:
    """As with any worker thread."""
    round_ = PrivateRound(tmp_path)
    round_.receive(CONTROLLER, round_.order())
    (read,) = round_.runs
    round_.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    used = round_.spools.used
    assert used > 0
    round_.handle(Ran(read.key, read.call()))
    assert round_.spools.used == 0


def test_no_noise_can_be_drawn_without_the_ledgers_entry(tmp_path: Path) -> None:
    """Whatever else goes wrong in the order of the steps."""
    round_ = PrivateRound(tmp_path)
    privacy = RoundPrivacy(RoundProgress(round_.order(), 0.0), NoiseKeyWatch())
    parts = PrivateParts().make(strategy())
    with pytest.raises(FedbusError, match="no noise may be drawn before the ledger has its entry"):
        privacy.step(parts.mechanism)
    privacy.key_read(round_.noise_key)
    with pytest.raises(FedbusError, match="no noise may be drawn before the ledger has its entry"):
        privacy.step(parts.mechanism)


def test_a_plan_without_a_key_fails(tmp_path: Path) -> None:
    """The controller knows no collector's key."""
    round_ = PrivateRound(tmp_path)
    round_.receive(CONTROLLER, round_.order(noise_key=None))
    why = "the plan names no noise key, and this job's collectors draw noise"
    assert round_.ended.reason == why
    assert round_.runs == []


def test_the_key_is_in_no_text(tmp_path: Path) -> None:
    """Neither of the watch, nor of the round's request, nor of anything noted."""
    round_ = PrivateRound(tmp_path)
    round_.begin()
    round_.give_all()
    round_.record()
    secret = round_.path.read_bytes()
    said = repr(round_.last) + repr(round_.notes) + repr(round_.noise_key) + repr(round_.asks)
    for written in (secret.hex(), repr(secret)[2:-1]):
        assert written not in said


def test_phases_are_named_in_order() -> None:
    """The ledger's entry goes between collecting and aggregating, before a sum is unmasked."""
    assert [phase.value for phase in RoundPhase] == [
        "preparing",
        "collecting",
        "agreeing",
        "recording",
        "unmasking",
        "aggregating",
        "committing",
        "ended",
    ]


def test_a_timer_of_the_key_is_no_event_of_a_round(tmp_path: Path) -> None:
    """The file is read again, and nothing else happens."""
    round_ = PrivateRound(tmp_path)
    round_.begin()
    round_.handle(Woke(keys.NoiseKeyPoll()))
    assert [type(action) for action in round_.last] == [Run]
