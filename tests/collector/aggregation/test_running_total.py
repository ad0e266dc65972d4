"""FedAvg block by block, against the formula in float64."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedbus.blobs.spool import Spool, Spools
from fedbus.errors import LayoutError, PluginError
from fedbus.model.blob import blank, flat
from fedbus.model.layout import Layout, Tensor
from fedbus.plugins import UpdateFacts
from fedbus.plugins.collector_part_calls import AggregatorCalls
from fedbus.plugins.part_caller import PartCaller
from fedbus.strategies.aggregation.mean import Mean
from fedbus.wire.blobs import blob_ref_of
from fedbus_collector.aggregation import new_version
from fedbus_collector.aggregation.combined_blocks import UsedCoefficients
from fedbus_collector.aggregation.running_total import RunningTotal, total_bytes
from fedbus_collector.aggregation.tensor_runs import UpdateRuns
from fedbus_collector.aggregation.verification import ArrivedUpdate, UpdateChecks
from tests.collector.aggregation.aggregated_round import AggregatedRound
from tests.collector.aggregation.mixed_model import ROLES, check, check_rounded, deltas_of, model

NUMBERS = 300_000
"""More than one block, and no multiple of it."""
LAYOUT = Layout((Tensor("first", (7,), "float32"), Tensor("rest", (NUMBERS - 7,), "float32")))
OTHER = Layout((Tensor("one", (NUMBERS,), "float32"),))


def blob_of(numbers: NDArray[np.float32], layout: Layout, encoding: str) -> bytes:
    """Write numbers as a blob."""
    blob = blank(layout, encoding)
    flat(blob, layout)[:] = numbers
    return bytes(blob)


def spooled(spools: Spools, data: bytes) -> Spool:
    """Put bytes into a spool."""
    spool = spools.make(len(data))
    spool.write(0, data)
    return spool


def total_in(spools: Spools, aggregator: object = None, layout: Layout = LAYOUT) -> RunningTotal:
    """Make a running total."""
    runs = UpdateRuns.of(layout)
    calls = AggregatorCalls(aggregator or Mean(), PartCaller("aggregator", "x"))
    return RunningTotal(UpdateChecks(runs, calls), spools.make(total_bytes(runs), zeros=True))


def arrived(
    spools: Spools, data: bytes, examples: int = 1, agent: str = "agent.a"
) -> ArrivedUpdate:
    """Build an update that arrived as it was offered."""
    facts = UpdateFacts(agent=agent, examples=examples)
    return ArrivedUpdate(facts, blob_ref_of(data).digest, spooled(spools, data))


def spools_in(memory: bool, folder: Path) -> Spools:
    """Make spools in memory or in files."""
    return Spools(1 << 30 if memory else 0, folder)


@pytest.mark.parametrize("memory", [True, False], ids=["in memory", "in files"])
@pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "unweighted"])
def test_the_aggregate_is_the_base_plus_the_mean_of_the_updates(
    memory: bool, weighted: bool, tmp_path: Path
) -> None:
    """To the last bit a float32 holds, wherever the arrays lie."""
    rng = np.random.default_rng(3)
    base = {"w": rng.standard_normal(NUMBERS, np.float32)}
    updates = rng.standard_normal((5, NUMBERS), np.float32)
    examples = [1, 10, 250, 3, 77]
    spools = spools_in(memory, tmp_path)
    round_ = AggregatedRound(base, aggregator=Mean(weighted=weighted), spools=spools)
    for numbers, count in zip(updates, examples, strict=True):
        assert round_.give_update({"w": numbers}, count) == {}
    weights = examples if weighted else [1] * 5
    wanted = base["w"] + np.average(updates.astype(np.float64), axis=0, weights=weights)
    np.testing.assert_allclose(round_.close()["w"], wanted, rtol=1e-6, atol=1e-7)
    assert round_.made is not None
    shares = np.array(weights) / sum(weights)
    said = dict(zip([f"agent.{at}" for at in range(5)], shares, strict=True))
    assert round_.made.used == UsedCoefficients(agents=5, updates=said)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(1, 2**40), st.floats(-1e6, 1e6, width=32)), min_size=1),
    st.randoms(use_true_random=False),
)
def test_the_order_of_arrival_changes_the_rounding_only(
    updates: list[tuple[int, float]], order: object
) -> None:
    """At most 2^-53 for each update, relative to the sum of the absolute values."""
    layout, spools = Layout((Tensor("w", (3,), "float32"),)), Spools(1 << 20)
    totals = []
    for shuffled in (updates, order.sample(updates, len(updates))):  # type: ignore[attr-defined]
        running_total = total_in(spools, layout=layout)
        come = [
            arrived(spools, blob_of(np.full(3, value, np.float32), layout, "delta"), examples)
            for examples, value in shuffled
        ]
        running_total.take(come)
        totals.append(np.frombuffer(running_total.spool.read(0, 24), np.float64).copy())
    scale = sum(examples * abs(value) for examples, value in updates)
    rounding = 2 * 2.0**-53 * (len(updates) + 1) * scale
    np.testing.assert_allclose(totals[0], totals[1], rtol=0, atol=rounding)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not a weights blob"),
        (b"nonsense" * 20, "not a weights blob"),
        (blob_of(np.zeros(NUMBERS, np.float32), LAYOUT, "plain"), "a plain blob where a delta"),
        (blob_of(np.zeros(NUMBERS, np.float32), OTHER, "delta"), "a blob of layout"),
        (blob_of(np.zeros(NUMBERS, np.float32), LAYOUT, "delta")[:-4], "its layout makes"),
    ],
    ids=["empty", "nonsense", "plain", "another model's", "cut short"],
)
def test_what_is_no_update_of_this_model_is_refused(data: bytes, sentence: str) -> None:
    """With the reason, and the total stays as it was."""
    spools = Spools(1 << 30)
    running_total = total_in(spools)
    refused = running_total.take([arrived(spools, data)])
    assert sentence in refused["agent.a"]
    assert not np.frombuffer(running_total.spool.read(0, NUMBERS * 8), np.float64).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("at", "tensor"), [(3, "first"), (NUMBERS - 1, "rest")])
def test_numbers_that_would_poison_the_mean_are_refused(value: float, at: int, tensor: str) -> None:
    """The reason names the tensor; no part of the update is folded; others count."""
    spools = Spools(1 << 30)
    running_total = total_in(spools)
    numbers = np.ones(NUMBERS, np.float32)
    good = blob_of(numbers, LAYOUT, "delta")
    numbers[at] = value
    bad = blob_of(numbers, LAYOUT, "delta")
    both = [arrived(spools, bad, agent="agent.bad"), arrived(spools, good, agent="agent.good")]
    refused = running_total.take(both)
    assert refused.keys() == {"agent.bad"}
    assert f"tensor {tensor!r}" in refused["agent.bad"]
    total = np.frombuffer(running_total.spool.read(0, NUMBERS * 8), np.float64)
    assert (total == 1.0).all()


def test_bytes_that_were_not_offered_are_refused() -> None:
    """What was offered has another digest."""
    spools = Spools(1 << 30)
    running_total = total_in(spools)
    data = blob_of(np.ones(NUMBERS, np.float32), LAYOUT, "delta")
    about = UpdateFacts(agent="agent.a", examples=1)
    update = ArrivedUpdate(about, "0" * 64, spooled(spools, data))
    assert "not those of its digest" in running_total.take([update])["agent.a"]


def test_an_aggregate_that_overflows_is_no_model() -> None:
    """Two finite updates can add up to what no float32 holds."""
    most = {"w": np.full(3, np.finfo(np.float32).max)}
    round_ = AggregatedRound(most)
    round_.give_update(most)
    with pytest.raises(LayoutError, match=r"tensor 'w': inf .* the mean overflows float32"):
        round_.close()


def test_a_base_of_another_model_makes_no_aggregate() -> None:
    """It is not added to."""
    round_ = AggregatedRound({"w": np.zeros(3, np.float32)})
    round_.give_update({"w": np.zeros(3, np.float32)})
    round_.base = blob_of(np.zeros(NUMBERS, np.float32), OTHER, "plain")
    with pytest.raises(LayoutError, match="a blob of layout"):
        round_.close()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    examples=st.lists(st.integers(1, 1000), min_size=1, max_size=5),
    files=st.booleans(),
    length=st.sampled_from([1, 3, 65536]),
)
def test_every_kind_of_tensor_becomes_the_mean(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    examples: list[int],
    files: bool,
    length: int,
) -> None:
    """Of whatever dtype and role, but for the local ones."""
    rng = np.random.default_rng(seed)
    base, news = model(rng), [model(rng) for _ in examples]
    spools = spools_in(not files, tmp_path_factory.mktemp("spools"))
    round_ = AggregatedRound(base, ROLES, spools=spools)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(new_version, "BLOCK_NUMBERS", length)
        for new, count in zip(news, examples, strict=True):
            assert round_.give(new, count) == {}
        found = round_.close()
    for name in base.keys() - {"e.own"}:
        change = np.average(deltas_of(base, news, name), axis=0, weights=examples)
        if base[name].dtype.kind == "f":
            check(name, found[name], base[name].astype("f8") + change)
        else:
            check_rounded(base, found, name, change)
    assert found["e.own"].tobytes() == base["e.own"].tobytes()


class Chosen:
    """Gives each update the weight that its number of examples is the key of."""

    def __init__(self, weights: dict[int, object]) -> None:
        self._weights = weights

    def weight(self, facts: UpdateFacts) -> object:
        """Return what the test chose."""
        return self._weights[facts.examples]


@pytest.mark.parametrize("memory", [True, False], ids=["in memory", "in files"])
def test_products_of_float32_numbers_are_float64(memory: bool, tmp_path: Path) -> None:
    """A product of two float32 numbers needs up to 48 bits, whichever NumPy computes it."""
    numbers = np.full(NUMBERS, 0.1, np.float32)
    spools = spools_in(memory, tmp_path)
    total = total_in(spools)
    assert total.take([arrived(spools, blob_of(numbers, LAYOUT, "delta"), 8_388_607)]) == {}
    sums = np.frombuffer(total.spool.read(0, NUMBERS * 8), np.float64)
    np.testing.assert_array_equal(sums, float(np.float32(0.1)) * 8_388_607)


def test_an_update_of_weight_0_is_not_used() -> None:
    """It counts as delivered, and the record says 0."""
    round_ = AggregatedRound({"w": np.zeros(2)}, aggregator=Chosen({1: 0.0, 2: 3}))
    round_.give_update({"w": np.full(2, 100.0)}, 1)
    round_.give_update({"w": np.full(2, 4.0)}, 2)
    np.testing.assert_array_equal(round_.close()["w"], 4.0)
    assert round_.made is not None
    assert round_.made.used == UsedCoefficients(agents=1, updates={"agent.0": 0.0, "agent.1": 1.0})


@pytest.mark.parametrize(
    ("weight", "sentence"),
    [
        (np.nan, "the weight of agent.0 is nan; expected a finite number"),
        (-1.0, "the weight of agent.0 is -1.0; at least 0 expected"),
        (None, "the weight of agent.0 is no number"),
    ],
)
def test_an_update_without_a_weight_is_refused_alone(weight: object, sentence: str) -> None:
    """Its facts may be wrong; one agent must not fail the round. The aggregator is named."""
    round_ = AggregatedRound({"w": np.zeros(2)}, aggregator=Chosen({1: weight, 2: 1.0}))
    refused = round_.give_update({"w": np.ones(2)}, 1)
    assert refused["agent.0"].startswith(f"aggregator 'x': {sentence}")
    assert round_.give_update({"w": np.ones(2)}, 2) == {}
    np.testing.assert_array_equal(round_.close()["w"], 1.0)


def test_weights_that_are_all_0_make_no_mean() -> None:
    """The job's author must know which part to correct."""
    round_ = AggregatedRound({"w": np.zeros(2)}, aggregator=Chosen({1: 0.0}))
    round_.give_update({"w": np.ones(2)}, 1)
    with pytest.raises(PluginError, match=r"^aggregator 'x': the weights of all updates add up to"):
        round_.close()


def test_weights_beyond_the_largest_float_make_no_mean() -> None:
    """Each is finite, and their sum is not."""
    round_ = AggregatedRound({"w": np.zeros(2)}, aggregator=Chosen({1: 1.7e308}))
    for _ in range(2):
        round_.give_update({"w": np.zeros(2)}, 1)
    with pytest.raises(PluginError, match="add up to inf"):
        round_.close()
