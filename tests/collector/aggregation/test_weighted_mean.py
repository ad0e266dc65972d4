"""FedAvg block by block, against the formula in float64."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedbus.blobs.spool import Spool, Spools
from fedbus.errors import LayoutError
from fedbus.model.blob import blank, encode, flat
from fedbus.model.layout import Layout, Tensor
from fedbus.wire.blobs import blob_ref_of
from fedbus_collector.aggregation.weighted_mean import ArrivedUpdate, RunningTotal, aggregate, fold

NUMBERS = 300_000
"""More than one block, and no multiple of it."""
LAYOUT = Layout((Tensor("first", (7,), "float32"), Tensor("rest", (NUMBERS - 7,), "float32")))
OTHER = Layout((Tensor("one", (NUMBERS,), "float32"),))


def blob_of(numbers: NDArray[np.float32], layout: Layout, encoding: str) -> bytes:
    """Write numbers as a blob."""
    blob = blank(layout, encoding)  # type: ignore[arg-type]  # one of the two
    flat(blob, layout)[:] = numbers
    return bytes(blob)


def spooled(spools: Spools, data: bytes) -> Spool:
    """Put bytes into a spool."""
    spool = spools.make(len(data))
    spool.write(0, data)
    return spool


def arrived(
    spools: Spools, data: bytes, weight: float = 1.0, agent: str = "agent.a"
) -> ArrivedUpdate:
    """Build an update that arrived as it was offered."""
    return ArrivedUpdate(agent, blob_ref_of(data).digest, weight, spooled(spools, data))


def spools_in(memory: bool, folder: Path) -> Spools:
    """Make spools in memory or in files."""
    return Spools(1 << 30 if memory else 0, folder)


@pytest.mark.parametrize("memory", [True, False], ids=["in memory", "in files"])
@pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "unweighted"])
def test_the_aggregate_is_the_base_plus_the_mean_of_the_updates(
    memory: bool, weighted: bool, tmp_path: Path
) -> None:
    """To the last bit a float32 holds, wherever the arrays lie."""
    rng, spools = np.random.default_rng(3), spools_in(memory, tmp_path)
    base = rng.standard_normal(NUMBERS, np.float32)
    updates = rng.standard_normal((5, NUMBERS), np.float32)
    weights = [1.0, 10.0, 250.0, 3.0, 77.0] if weighted else [1.0] * 5
    running_total = RunningTotal(LAYOUT, spools.make(NUMBERS * 8))
    for numbers, weight in zip(updates, weights, strict=True):
        update = arrived(spools, blob_of(numbers, LAYOUT, "delta"), weight)
        assert fold(running_total, [update]) == {}
    plain = blob_of(base, LAYOUT, "plain")
    out = spools.make(len(plain))
    digest = aggregate(running_total, spooled(spools, plain), sum(weights), out)
    assert digest == out.digest()
    found = flat(bytes(out.read(0, out.size)), LAYOUT)
    wanted = base + np.average(updates.astype(np.float64), axis=0, weights=weights)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(1, 2**40), st.floats(-1e6, 1e6, width=32)), min_size=1),
    st.randoms(use_true_random=False),
)
def test_the_order_of_arrival_does_not_matter(
    updates: list[tuple[int, float]], order: object
) -> None:
    """Nor how many are folded at once."""
    layout, spools = Layout((Tensor("w", (3,), "float32"),)), Spools(1 << 20)
    totals = []
    for shuffled in (updates, order.sample(updates, len(updates))):  # type: ignore[attr-defined]
        running_total = RunningTotal(layout, spools.make(24))
        come = [
            arrived(spools, blob_of(np.full(3, value, np.float32), layout, "delta"), weight)
            for weight, value in shuffled
        ]
        fold(running_total, come)
        totals.append(np.frombuffer(running_total.spool.read(0, 24), np.float64).copy())
    scale = sum(weight * abs(value) for weight, value in updates)
    np.testing.assert_allclose(totals[0], totals[1], rtol=0, atol=1e-12 * scale)


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
    running_total = RunningTotal(LAYOUT, spools.make(NUMBERS * 8))
    refused = fold(running_total, [arrived(spools, data)])
    assert sentence in refused["agent.a"]
    assert not np.frombuffer(running_total.spool.read(0, NUMBERS * 8), np.float64).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("at", "tensor"), [(3, "first"), (NUMBERS - 1, "rest")])
def test_numbers_that_would_poison_the_mean_are_refused(value: float, at: int, tensor: str) -> None:
    """The reason names the tensor; no part of the update is folded; others count."""
    spools = Spools(1 << 30)
    running_total = RunningTotal(LAYOUT, spools.make(NUMBERS * 8))
    numbers = np.ones(NUMBERS, np.float32)
    good = blob_of(numbers, LAYOUT, "delta")
    numbers[at] = value
    bad = blob_of(numbers, LAYOUT, "delta")
    both = [arrived(spools, bad, agent="agent.bad"), arrived(spools, good, agent="agent.good")]
    refused = fold(running_total, both)
    assert refused.keys() == {"agent.bad"}
    assert f"tensor {tensor!r}" in refused["agent.bad"]
    total = np.frombuffer(running_total.spool.read(0, NUMBERS * 8), np.float64)
    assert (total == 1.0).all()


def test_bytes_that_were_not_offered_are_refused() -> None:
    """What was offered has another digest."""
    spools = Spools(1 << 30)
    running_total = RunningTotal(LAYOUT, spools.make(NUMBERS * 8))
    data = blob_of(np.ones(NUMBERS, np.float32), LAYOUT, "delta")
    update = ArrivedUpdate("agent.a", "0" * 64, 1.0, spooled(spools, data))
    assert "not those of its digest" in fold(running_total, [update])["agent.a"]


def test_an_aggregate_that_overflows_is_no_model() -> None:
    """Two finite updates can add up to what no float32 holds."""
    layout, spools = Layout((Tensor("w", (3,), "float32"),)), Spools(1 << 20)
    running_total = RunningTotal(layout, spools.make(24))
    most = np.full(3, np.finfo(np.float32).max)
    fold(running_total, [arrived(spools, blob_of(most, layout, "delta"))])
    base = spooled(spools, bytes(encode({"w": most}, layout)))
    with pytest.raises(LayoutError, match="not a finite number"):
        aggregate(running_total, base, 1.0, spools.make(base.size))


def test_a_base_of_another_model_makes_no_aggregate() -> None:
    """It is not added to."""
    spools = Spools(1 << 30)
    running_total = RunningTotal(LAYOUT, spools.make(NUMBERS * 8))
    base = spooled(spools, blob_of(np.zeros(NUMBERS, np.float32), OTHER, "plain"))
    with pytest.raises(LayoutError, match="a blob of layout"):
        aggregate(running_total, base, 1.0, spools.make(base.size))
