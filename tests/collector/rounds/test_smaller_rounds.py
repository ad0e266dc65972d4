"""Rounds of jobs with thin downloads and frozen numbers: what is fetched, written and committed."""

from dataclasses import replace

import numpy as np
import pytest

from fedbus import compression
from fedbus.model.blob import decode, encode
from fedbus.model.frozen_bits import FrozenBits
from fedbus.model.sections import section_numbers, state_layout
from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import BlobRef, CompressedBlob, blob_ref_of
from fedbus.wire.compression import FREEZING_STATE, SYNC_STATE, Freezing, SyncFrequency
from fedbus.wire.messages import OpenRound
from fedbus.wire.strategies import Strategy, StrategyState
from fedbus_collector import keys
from fedbus_collector.rounds.inputs import RETRY_SECONDS
from fedbus_collector.rounds.round_record import downloaded_bytes
from tests.collector.harness import (
    CONTROLLER,
    JOB,
    LAYOUT,
    A,
    B,
    C,
    Harness,
    arrays,
    blob,
    mean,
    offer,
    order,
    version,
)

KEY = (JOB, 1)
STEPS = (PluginChoice(id="quantize", parameters={"bits": 8}),)
NUMBERS = section_numbers(LAYOUT)
FREEZES = replace(
    mean(),
    freezing=Freezing(stability_threshold=0.9, moving_average=0.5),
    state=FREEZING_STATE,
)
MEANS = {name: np.zeros(NUMBERS, np.float32) for name in FREEZING_STATE}
ARRAYS = bytes(encode(MEANS, state_layout(LAYOUT, FREEZING_STATE)))
FIRST = np.arange(NUMBERS) < 3
"""In the layout, `b` comes before `w`."""


def bits(frozen: np.ndarray[tuple[int], np.dtype[np.bool_]] = FIRST) -> bytes:
    """Return the blob of frozen bits."""
    made = FrozenBits(NUMBERS)
    made.freeze(0, frozen)
    return bytes(made.blob(LAYOUT))


def frozen_round(content: bytes, strategy: Strategy = FREEZES) -> OpenRound:
    """Order a round that leaves numbers out."""
    state = StrategyState(
        rounds=1,
        numbers={"freezing_threshold": 0.9, "freezing_ratio": 0.3},
        arrays=blob_ref_of(ARRAYS),
        frozen=blob_ref_of(content),
    )
    return order(strategy=strategy, state=state)


def open_frozen(content: bytes) -> Harness:
    """Open such a round; its inputs have arrived, but for the bits."""
    harness = Harness()
    harness.open(frozen_round(content))
    harness.complete_fetch(keys.StateFetch(*KEY), ARRAYS)
    harness.run_calls()
    return harness


def sent(value: float) -> bytes:
    """Return an update without the frozen numbers."""
    rng = np.random.default_rng(0)
    return bytes(compression.encode(arrays(value), LAYOUT, (), rng, FIRST))


def test_a_thin_blob_is_committed_with_its_version() -> None:
    """The repository fetches both; the mean is added to the version, not to the thin base."""
    harness = Harness()
    harness.open(order(strategy=replace(mean(), download=STEPS)))
    for agent in (A, B, C):
        harness.give(agent)
    record = harness.commit.record
    assert record.thin is not None
    assert record.thin.compression == STEPS
    source = harness.served[record.thin.blob.digest]
    content = bytes(source.read(0, source.size))
    assert blob_ref_of(content) == record.thin.blob
    assert harness.out(harness.commit) == blob(2.0)
    read = decode(compression.decode(content, LAYOUT, STEPS, content="plain"), LAYOUT)
    np.testing.assert_allclose(read["w"], 2.0, atol=4 / 127)
    harness.confirm()
    assert harness.served == {}


def test_the_base_of_a_job_with_thin_blobs_is_fetched_alone() -> None:
    """Its agents join the multicast of another blob."""
    thin = CompressedBlob(blob=blob_ref_of(b"smaller"), compression=STEPS)
    harness = Harness()
    strategy = replace(mean(), download=STEPS)
    harness.receive(CONTROLLER, order(strategy=strategy, base=replace(version(), thin=thin)))
    assert harness.fetches[keys.BaseFetch(*KEY)].members == 0


def test_a_base_that_is_sent_inside_the_tasks_is_whole() -> None:
    """No agent fetches the thin blob of a base of at most 16 KiB, so its bytes are not counted."""
    thin = CompressedBlob(blob=BlobRef(digest="e" * 64, size=5_000), compression=STEPS)
    small, large = (
        replace(version(), thin=thin, weights=BlobRef(digest="f" * 64, size=size))
        for size in (16_384, 16_385)
    )
    assert downloaded_bytes(small, thin=True) == 16_384
    assert downloaded_bytes(large, thin=True) == 5_000
    assert downloaded_bytes(large, thin=False) == 16_385


@pytest.mark.parametrize("download", [(), STEPS])
def test_the_bytes_of_a_base_are_those_of_the_blob_that_its_agents_fetch(
    download: tuple[PluginChoice, ...],
) -> None:
    """Without `download`, and of a small base, it is the weights, though there is a thin blob."""
    thin = CompressedBlob(blob=blob_ref_of(b"smaller"), compression=STEPS)
    base = replace(version(), thin=thin)
    harness = Harness()
    harness.open(order(strategy=replace(mean(), download=download), base=base))
    for agent in (A, B, C):
        harness.give(agent)
    traffic = harness.commit.record.traffic
    assert traffic is not None
    assert traffic.version == base.weights.size
    assert traffic.plain == base.weights.size


def test_updates_are_taken_once_the_frozen_bits_are_here() -> None:
    """They say how large an update is. A frozen number keeps its value and its averages."""
    harness = open_frozen(bits())
    update = sent(1.0)
    harness.receive(A, offer(update, inline=update))
    assert harness.runs == []
    harness.complete_fetch(keys.FrozenFetch(*KEY), bits())
    harness.run_calls()
    for agent in (B, C):
        harness.receive(agent, offer(update, inline=update))
        harness.run_calls()
    weights = decode(harness.out(harness.commit), LAYOUT)
    assert weights["b"].tolist() == [2.0] * 3
    assert weights["w"].tolist() == [[2.0] * 3] * 2
    state = harness.commit.record.state
    assert state is not None
    assert state.arrays is not None
    source = harness.served[state.arrays.digest]
    kept = decode(bytes(source.read(0, source.size)), state_layout(LAYOUT, FREEZING_STATE), "plain")
    assert kept["freezing_mean"].tolist() == [0.0] * 3 + [0.5] * 6
    assert state.frozen is None
    assert state.numbers == {"freezing_threshold": 0.9, "freezing_ratio": 0.0}


def test_an_update_with_frozen_numbers_is_refused() -> None:
    """By its size, before it is fetched."""
    harness = open_frozen(bits())
    harness.complete_fetch(keys.FrozenFetch(*KEY), bits())
    harness.run_calls()
    update = blob(1.0, "delta") + bytes(64)
    harness.receive(A, offer(update))
    assert "expected an update of" in harness.receipts()[A].reason


@pytest.mark.parametrize(
    ("content", "strategy", "reason"),
    [
        (bits(), replace(FREEZES, freezing=None), "the strategy freezes none"),
        (bits() + b"?", FREEZES, f"frozen bits of {len(bits()) + 1} bytes; the model's have"),
    ],
    ids=["no freezing", "size"],
)
def test_bits_that_do_not_belong_to_the_round_fail_it(
    content: bytes, strategy: Strategy, reason: str
) -> None:
    """Before they are fetched."""
    harness = Harness()
    harness.open(frozen_round(content, strategy))
    assert reason in harness.ended.reason


def test_damaged_bits_fail_the_round() -> None:
    """Their digest is another one."""
    harness = open_frozen(bits())
    harness.complete_fetch(keys.FrozenFetch(*KEY), bits(~FIRST))
    harness.run_calls()
    assert harness.ended.reason == "the frozen bits are not those of their digest"


def test_bits_that_do_not_arrive_are_fetched_again() -> None:
    """As the other inputs are."""
    harness = open_frozen(bits())
    harness.fail_fetch(keys.FrozenFetch(*KEY))
    assert keys.FrozenFetch(*KEY) not in harness.fetches
    harness.wait(RETRY_SECONDS)
    assert keys.FrozenFetch(*KEY) in harness.fetches


def test_frozen_bits_and_epochs_are_part_of_the_next_state() -> None:
    """An update of one direction, then its opposite: every number swings, and is frozen."""
    strategy = replace(FREEZES, sync=SyncFrequency(epochs=4), state=(*FREEZING_STATE, *SYNC_STATE))
    zeros = np.zeros(NUMBERS, np.float32)
    before = dict.fromkeys(strategy.state, zeros) | {
        "freezing_mean": zeros - 0.4,
        "freezing_absolute": zeros + 0.4,
    }
    content = bytes(encode(before, state_layout(LAYOUT, strategy.state)))
    harness = Harness()
    state = StrategyState(rounds=1, arrays=blob_ref_of(content))
    harness.open(order(strategy=strategy, state=state))
    harness.complete_fetch(keys.StateFetch(*KEY), content)
    harness.run_calls()
    for agent in (A, B, C):
        harness.give(agent, 0.5)
    after = harness.commit.record.state
    assert after is not None
    assert after.frozen is not None
    source = harness.served[after.frozen.digest]
    frozen = FrozenBits.of_blob(bytes(source.read(0, source.size)), LAYOUT)
    # b has twice the update: (-0.4 + 1) / 2 of (0.4 + 1) / 2, and w (-0.4 + 0.5) / (0.4 + 0.5)
    assert frozen.read(0, NUMBERS).tolist() == [True] * NUMBERS
    assert after.numbers["freezing_ratio"] == 1.0
    assert after.numbers["freezing_threshold"] == 0.45
    assert after.numbers["sync_epochs"] == 4
