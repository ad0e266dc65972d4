"""Rules that need all updates at once, against the same formula on whole arrays."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedbus.blobs.spool import Spools
from fedbus.errors import LayoutError, PluginError
from fedbus.model.blob import encode
from fedbus.plugins import Coefficients, UpdateFacts
from fedbus.strategies.aggregation.geometric_median import GeometricMedian
from fedbus.strategies.aggregation.krum import Krum, MultiKrum
from fedbus.strategies.aggregation.qfedavg import QFedAvg
from fedbus_collector.aggregation import inner_products, new_version, tensor_runs
from tests.collector.aggregation.aggregated_round import AggregatedRound
from tests.collector.aggregation.mixed_model import (
    ROLES,
    TRAINED,
    check,
    check_rounded,
    deltas_of,
    model,
)


class Given:
    """An aggregator with coefficients that the test chose; keeps what it was given."""

    def __init__(
        self,
        updates: Sequence[float],
        base: float = 1.0,
        gram: Literal["model", "tensors"] | None = None,
    ) -> None:
        self._coefficients = Coefficients(updates, base)
        self.gram = gram
        self.products: Any = None
        self.facts: Sequence[UpdateFacts] = ()

    def weigh(self, facts: Sequence[UpdateFacts], gram: Any) -> Coefficients:  # noqa: ANN401 - Array | None
        """Return them."""
        self.facts, self.products = facts, gram
        return self._coefficients


def between(blocks: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    """Return what lies halfway between median and weighted mean."""
    found: NDArray[Any] = (np.median(blocks, 0) + np.average(blocks, 0, weights)) / 2
    return found


class Halfway:
    """A rule that depends on the numbers and on the weights."""

    def combine(self, blocks: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
        """Combine blocks number by number."""
        return between(blocks, weights)


class ChosenHalfway(Given, Halfway):
    """Both, as Bulyan is: a choice of updates, and a combination of the chosen ones."""


def spools_of(files: bool, folder: Path) -> Spools:
    """Make spools in memory or in files."""
    return Spools(0 if files else 1 << 30, folder)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    examples=st.lists(st.integers(1, 1000), min_size=1, max_size=5),
    base_factor=st.sampled_from([1.0, 0.0, 0.75, 1.5]),
    files=st.booleans(),
    length=st.sampled_from([1, 3, 65536]),
    data=st.data(),
)
def test_coefficients_are_applied_to_what_is_trained_and_to_nothing_else(  # noqa: PLR0917 - hypothesis passes them by name
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    examples: list[int],
    base_factor: float,
    files: bool,
    length: int,
    data: st.DataObject,
) -> None:
    """Statistics and counters are means over the used updates: factors of 3 would be no mean."""
    factors = data.draw(
        st.lists(
            st.sampled_from([0.0, 0.5, 1.0, -0.25, 3.0]),
            min_size=len(examples),
            max_size=len(examples),
        ).filter(any)
    )
    rng = np.random.default_rng(seed)
    base, news = model(rng), [model(rng) for _ in examples]
    rule = Given(factors, base_factor)
    spools = spools_of(files, tmp_path_factory.mktemp("spools"))
    round_ = AggregatedRound(base, ROLES, aggregator=rule, spools=spools)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(new_version, "BLOCK_NUMBERS", length)
        for new, count in zip(news, examples, strict=True):
            assert round_.give(new, count) == {}
        found = round_.close()
    for name in TRAINED:
        change = np.tensordot(factors, deltas_of(base, news, name), 1)
        check(name, found[name], base_factor * base[name].astype("f8") + change)
    shares = np.array(examples) * np.array([factor != 0 for factor in factors])
    for name in ("c.variance", "g.count", "h.mask", "i.small"):
        change = np.tensordot(shares / shares.sum(), deltas_of(base, news, name), 1)
        if name == "c.variance":
            check(name, found[name], base[name] + change)
        else:
            check_rounded(base, found, name, change)
    assert found["e.own"].tobytes() == base["e.own"].tobytes()
    assert round_.made is not None
    used = round_.made.used
    assert (used.agents, used.base) == (np.count_nonzero(factors), base_factor)
    assert list((used.updates or {}).values()) == factors
    assert [one.examples for one in rule.facts] == examples


@pytest.mark.parametrize("kept", [False, True], ids=["added up", "kept"])
@pytest.mark.parametrize(
    ("dtype", "value", "examples"), [("float16", 1e-5, 1), ("float32", 1e36, 1000)]
)
def test_products_of_narrow_floats_are_computed_in_float64(
    kept: bool, dtype: str, value: float, examples: int
) -> None:
    """Rounded to the updates' own dtype, small ones would be 14 % off and large ones overflow."""
    rng = np.random.default_rng(5)
    rows = (value * (1 + rng.random((50, 9)))).astype(dtype)
    rule = Given([1 / 50] * 50) if kept else None
    round_ = AggregatedRound({"w": np.zeros(9, dtype)}, aggregator=rule)
    for row in rows:
        assert round_.give_update({"w": row}, examples) == {}
    exact = [float(sum(map(Fraction, map(float, column))) / 50) for column in rows.T]
    np.testing.assert_array_max_ulp(round_.close()["w"], np.array(exact, dtype), maxulp=1)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    examples=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    files=st.booleans(),
    stack_bytes=st.sampled_from([8, 100, 8 << 20]),
    chooses=st.booleans(),
)
def test_numbers_are_combined_by_the_rule_in_blocks_of_any_length(  # noqa: PLR0917 - hypothesis passes them by name
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    examples: list[int],
    files: bool,
    stack_bytes: int,
    chooses: bool,
) -> None:
    """With the examples as weights, or with the coefficients of the updates that are chosen."""
    rng = np.random.default_rng(seed)
    base, news = model(rng), [model(rng) for _ in examples]
    factors = [float(at % 2 == 0) * (1 + at) for at in range(len(examples))]
    rule = ChosenHalfway(factors) if chooses else Halfway()
    weights = np.array(factors if chooses else examples, "f8")
    spools = spools_of(files, tmp_path_factory.mktemp("spools"))
    round_ = AggregatedRound(base, ROLES, aggregator=rule, spools=spools)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensor_runs, "STACK_BYTES", stack_bytes)
        for new, count in zip(news, examples, strict=True):
            assert round_.give(new, count) == {}
        found = round_.close()
    kept = [at for at, weight in enumerate(weights) if weight]
    for name in (*TRAINED, "c.variance", "g.count", "i.small"):
        change = between(deltas_of(base, news, name)[kept], weights[kept])
        if base[name].dtype.kind == "f":
            check(name, found[name], base[name].astype("f8") + change)
        else:
            check_rounded(base, found, name, change)
    majority = np.array(examples)[kept]
    change = np.tensordot(majority / majority.sum(), deltas_of(base, news, "h.mask")[kept], 1)
    check_rounded(base, found, "h.mask", change)
    assert found["e.own"].tobytes() == base["e.own"].tobytes()
    assert round_.made is not None
    assert (round_.made.used.updates is None) != chooses


@pytest.mark.parametrize("kind", ["model", "tensors"])
@pytest.mark.parametrize("files", [False, True])
@pytest.mark.parametrize("stack_bytes", [8, 200, 8 << 20])
def test_inner_products_are_those_of_whole_tensors(
    kind: Literal["model", "tensors"],
    files: bool,
    stack_bytes: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of trained tensors only, the base in row 0."""
    rng = np.random.default_rng(5)
    base, news = model(rng), [model(rng) for _ in range(4)]
    rule = Given([1.0, 0.0, 0.0, 0.0], gram=kind)
    round_ = AggregatedRound(base, ROLES, aggregator=rule, spools=spools_of(files, tmp_path))
    monkeypatch.setattr(tensor_runs, "STACK_BYTES", stack_bytes)
    for new in news:
        round_.give(new)
    round_.close()
    products = []
    for name in TRAINED:
        rows = [base[name].astype("f8").ravel()]
        rows += [row.ravel() for row in deltas_of(base, news, name)]
        products.append(np.stack(rows) @ np.stack(rows).T)
    wanted = np.stack(products) if kind == "tensors" else np.sum(products, axis=0)
    assert rule.products.dtype == np.float64
    np.testing.assert_allclose(rule.products, wanted, rtol=1e-12, atol=1e-12)
    assert not rule.products.flags.writeable


def test_without_a_wish_there_are_no_inner_products() -> None:
    """A first pass over all updates would be for nothing."""
    rule = Given([1.0])
    round_ = AggregatedRound({"w": np.zeros(2)}, aggregator=rule)
    round_.give_update({"w": np.ones(2)})
    round_.close()
    assert rule.products is None


def test_inner_products_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is checked before they are allocated."""
    monkeypatch.setattr(inner_products, "MAX_GRAM_BYTES", 31)
    round_ = AggregatedRound({"w": np.zeros(2)}, aggregator=Given([1.0], gram="model"))
    round_.give_update({"w": np.ones(2)})
    with pytest.raises(LayoutError, match="of 1 updates take 32 bytes; at most 31"):
        round_.close()


def test_inner_products_beyond_float64_are_refused() -> None:
    """A distance of infinity would choose any update."""
    round_ = AggregatedRound({"w": np.full(2, 1e200)}, aggregator=Given([1.0], gram="model"))
    round_.give_update({"w": np.zeros(2)})
    with pytest.raises(LayoutError, match="too large for float64"):
        round_.close()


@pytest.mark.parametrize("value", [1e101, 1e160, -1e308])
@pytest.mark.parametrize("rule", [Krum(), MultiKrum(), GeometricMedian()])
def test_an_update_too_large_to_compare_is_refused_alone(rule: object, value: float) -> None:
    """One agent must not fail the rounds of a rule that withstands malicious agents."""
    round_ = AggregatedRound({"w": np.zeros(3)}, aggregator=rule)
    for _ in range(3):
        assert round_.give_update({"w": np.ones(3)}) == {}
    refused = round_.give_update({"w": np.full(3, value)})
    assert "the squared norm of the update is" in refused["agent.3"]
    np.testing.assert_allclose(round_.close()["w"], 1.0)


def test_the_largest_float32_update_is_compared() -> None:
    """The bound is beyond all that float32 numbers can make."""
    round_ = AggregatedRound({"w": np.zeros(3, np.float32)}, aggregator=Krum())
    for value in (1.0, 1.0, 1.0, np.finfo(np.float32).max):
        assert round_.give_update({"w": np.full(3, value, np.float32)}) == {}
    np.testing.assert_array_equal(round_.close()["w"], 1.0)


def test_an_update_whose_facts_a_rule_refuses_costs_only_itself() -> None:
    """A loss such as that of a log-likelihood may be negative; q-FedAvg cannot use it."""
    round_ = AggregatedRound({"w": np.zeros(3)}, aggregator=QFedAvg())
    update = bytes(encode({"w": np.ones(3)}, round_.layout, "delta"))
    assert round_.offer(update, base_loss=0.5) == {}
    refused = round_.offer(update, base_loss=-0.1)
    assert refused["agent.1"] == (
        "expected the base's loss on its data, a number of at least 0, got -0.1"
    )
    assert round_.close()["w"].min() > 0.0


def test_a_rule_that_fails_to_refuse_names_itself() -> None:
    """A reason must be a text."""

    class Refuses(Halfway):
        def refuses(self, facts: UpdateFacts) -> bool:
            return facts.examples > 1

    round_ = AggregatedRound({"w": np.zeros(2)}, aggregator=Refuses())
    refused = round_.give_update({"w": np.ones(2)})
    assert refused["agent.0"] == "aggregator 'x': refuses returned a bool; expected a text"


def test_a_model_without_trained_tensors_has_no_inner_products() -> None:
    """A rule of distances cannot choose among its updates."""
    base = {"n": np.zeros(2, np.int64)}
    round_ = AggregatedRound(base, aggregator=Given([1.0], gram="tensors"))
    round_.give_update(base)
    with pytest.raises(LayoutError, match="no inner products"):
        round_.close()


def test_an_update_that_cannot_be_used_is_refused_and_not_kept() -> None:
    """The rule sees the others only."""
    rule = Given([0.5, 0.5])
    round_ = AggregatedRound({"w": np.zeros(2)}, aggregator=rule)
    round_.give_update({"w": np.ones(2)})
    assert "is not a finite number" in round_.give_update({"w": np.full(2, np.nan)})["agent.1"]
    round_.give_update({"w": np.ones(2)})
    np.testing.assert_array_equal(round_.close()["w"], 1.0)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (Given([1.0, 1.0]), "weigh returned 2 coefficients for 1 updates"),
        (Given([np.nan]), "the coefficient of agent.0 is nan; expected a finite number"),
        (Given([1.0], np.inf), "the coefficient of the base is inf; expected a finite number"),
        (Given([0.0]), "the coefficients of all updates are 0"),
    ],
)
def test_coefficients_that_cannot_be_applied_name_the_aggregator(
    rule: Given, sentence: str
) -> None:
    """The job's author must know which part to correct."""
    round_ = AggregatedRound({"w": np.zeros(2)}, aggregator=rule)
    round_.give_update({"w": np.ones(2)})
    with pytest.raises(PluginError, match=f"^aggregator 'x': {sentence}"):
        round_.close()
