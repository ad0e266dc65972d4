"""Rounds with a privacy mechanism: what is measured, which part learns what, empty rounds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.blobs.spool import Spools
from fedbus.errors import LayoutError, PluginError
from fedbus.model.blob import BLOCK_NUMBERS
from fedbus.model.layout import Weights
from fedbus.plugins import Block, Combined, UpdateFacts
from fedbus.plugins.collector_part_calls import CombinedTransformCalls, ServerOptimizerCalls
from fedbus.plugins.part_caller import PartCaller
from fedbus.plugins.privacy_mechanism_calls import PrivacyMechanismCalls
from fedbus_collector.aggregation.combined_blocks import UsedCoefficients
from fedbus_collector.aggregation.private_step import PrivateStep
from fedbus_collector.aggregation.server_step import ServerStep
from tests.collector.aggregation.aggregated_round import AggregatedRound
from tests.collector.aggregation.private_parts import AddsNoise, PlainNoise

BASE = {"first": np.zeros(2, np.float32), "other": np.zeros(3, np.float32)}


class FixedMean:
    """A mean over four, however many came."""

    divisor = 4

    def weight(self, facts: UpdateFacts) -> float:
        """Weigh all alike."""
        del facts
        return 1.0


class TakesMiddle:
    """A median."""

    def combine(self, blocks: Any, weights: Any) -> Any:  # noqa: ANN401 - arrays
        """Return the median."""
        del weights
        return np.median(blocks, axis=0)


class Grows:
    """A rule with a memory: each block that it returns is longer than the one before."""

    def __init__(self) -> None:
        self.calls = 0

    def combine(self, blocks: Any, weights: Any) -> Any:  # noqa: ANN401 - arrays
        """Return the mean, times the number of this call."""
        del weights
        self.calls += 1
        return self.calls * np.mean(blocks, axis=0)


class DrawsIn:
    """A rule with a coefficient of the base."""

    def weigh(self, facts: Sequence[UpdateFacts], gram: Any) -> Any:  # noqa: ANN401 - an array
        """Take half of the base and all of each update."""
        from fedbus.plugins import Coefficients

        del gram
        return Coefficients([1.0] * len(facts), 0.5)


class SeesCombined:
    """A server optimizer and a transform that remember what they were given."""

    def __init__(self) -> None:
        self.combined: list[Combined] = []
        self.facts: list[Sequence[UpdateFacts]] = []

    def next_numbers(
        self, numbers: Mapping[str, float], facts: Sequence[UpdateFacts]
    ) -> Mapping[str, float]:
        """Remember the facts."""
        del numbers
        self.facts.append(facts)
        return {}

    def apply(self, base: Block, combined: Combined, state: Mapping[str, Block]) -> Block:
        """Add the update."""
        del state
        self.combined.append(combined)
        return base + combined.update

    def transform_combined(self, combined: Combined) -> Block:
        """Double the update."""
        self.combined.append(combined)
        return 2 * combined.update


def step_of(mechanism: AddsNoise, noise: PlainNoise | None = None, **parts: Any) -> ServerStep:  # noqa: ANN401 - of the step
    """Make the step of a private round."""
    calls = PrivacyMechanismCalls(mechanism, PartCaller("update transform", "dp"))
    return ServerStep(private=PrivateStep(mechanism=calls, noise=noise, cohort=4), **parts)


def update(first: float, other: float) -> Weights:
    """Make the differences of both tensors."""
    return {"first": np.full(2, first, np.float32), "other": np.full(3, other, np.float32)}


def test_noise_is_added_at_the_position_of_each_number() -> None:
    """Also if the model is several blocks: each block knows where it begins."""
    mechanism = AddsNoise()
    base: dict[str, Any] = {"a": np.zeros(3, np.float32), "b": np.zeros(40_000, np.float64)}
    round_ = AggregatedRound(base, aggregator=FixedMean(), step=step_of(mechanism, PlainNoise()))
    round_.give_update({name: np.zeros_like(array) for name, array in base.items()})
    new = round_.close()
    np.testing.assert_array_equal(new["a"], np.arange(3))
    np.testing.assert_array_equal(new["b"], np.arange(3, 40_003))
    assert mechanism.seen[0].position == 0


def test_the_norm_of_an_update_is_of_its_trained_tensors() -> None:
    """Statistics have no noise, and are in no norm; a model with some has no private jobs."""
    mechanism = AddsNoise()
    base = {"w": np.zeros(3, np.float32), "running": np.zeros(2, np.float32)}
    round_ = AggregatedRound(base, {"running": "statistic"}, step=step_of(mechanism))
    assert round_.give_update({"w": np.full(3, 2.0), "running": np.full(2, 100.0)}) == {}
    round_.close()
    assert [one.norm for one in mechanism.facts] == [np.sqrt(12.0)]


@pytest.mark.parametrize("rule", [FixedMean(), TakesMiddle()], ids=["total", "kept"])
def test_an_update_above_the_bound_is_refused_in_the_mechanisms_words(rule: object) -> None:
    """Its numbers are in no version: they were verified before they were added."""
    mechanism = AddsNoise(clipping_norm=3.0)
    round_ = AggregatedRound(BASE, aggregator=rule, step=step_of(mechanism))
    refused = round_.give_update(update(2.0, 2.0))
    assert refused == {"agent.0": "its norm is 4.47214, above 3"}
    assert round_.give_update(update(1.0, 1.0)) == {}
    share = 0.25 if isinstance(rule, FixedMean) else 1.0
    np.testing.assert_array_equal(round_.close()["other"], np.full(3, share))


def test_the_bound_of_the_state_goes_before_the_first_one() -> None:
    """An adaptive clipping norm is a number of the state."""
    step = step_of(AddsNoise(), numbers={"clipping_norm": 1.0})
    refused = AggregatedRound(BASE, step=step).give_update(update(1.0, 1.0))
    assert refused == {"agent.0": "its norm is 2.23607, above 1"}


def test_a_norm_that_float64_cannot_hold_is_infinite_and_refused() -> None:
    """No warning, and no update without a bound."""
    mechanism = AddsNoise()
    round_ = AggregatedRound({"w": np.zeros(2)}, step=step_of(mechanism))
    refused = round_.give_update({"w": np.full(2, 1e200)})
    assert refused == {"agent.0": "its norm is inf, above 10"}


def test_numbers_of_the_mechanism_are_those_of_the_round_and_its_record() -> None:
    """With the noise of their own name."""
    round_ = AggregatedRound(BASE, aggregator=FixedMean(), step=step_of(AddsNoise(), PlainNoise()))
    round_.give_update(update(0.0, 0.0))
    round_.close()
    assert round_.made is not None
    assert round_.made.numbers == {"clipping_norm": 5.0, "count": 6.0}


def test_only_the_mechanism_knows_the_updates() -> None:
    """The other parts get no facts, no norms, and the number of agents that were wanted."""
    mechanism = AddsNoise(needs_combined_norm=True, needs_distance=True)
    optimizer, transform = SeesCombined(), SeesCombined()
    step = step_of(
        mechanism,
        PlainNoise(),
        optimizer=ServerOptimizerCalls(optimizer, PartCaller("server optimizer", "x")),
        transforms=(CombinedTransformCalls(transform, PartCaller("update transform", "t")),),
    )
    round_ = AggregatedRound(BASE, aggregator=FixedMean(), step=step)
    round_.give_update(update(3.0, 0.0))
    round_.give_update(update(0.0, 4.0))
    new = round_.close()
    np.testing.assert_array_equal(new["first"], 2 * (0.75 + np.arange(2)))
    (seen,) = mechanism.seen
    assert seen.norm == pytest.approx(np.sqrt(2 * 0.75**2 + 3))
    assert seen.distance == pytest.approx((np.sqrt(18) + np.sqrt(48)) / 2)
    assert (seen.agents, seen.position) == (2, 0)
    for part in (optimizer, transform):
        (after,) = part.combined
        assert (after.norm, after.distance, after.agents) == (None, None, 4)
        assert part.facts == [()]


def test_the_combined_norm_is_with_the_coefficient_of_the_base() -> None:
    """It is the norm of what is added to the base, whatever the rule."""
    mechanism = AddsNoise(needs_combined_norm=True)
    base = {"w": np.full(4, 6.0)}
    round_ = AggregatedRound(base, aggregator=DrawsIn(), step=step_of(mechanism))
    round_.give_update({"w": np.full(4, 1.0)})
    new = round_.close()
    np.testing.assert_array_equal(new["w"], np.full(4, 4.0))
    assert mechanism.seen[0].norm == 4.0


def test_a_rule_that_combines_otherwise_after_its_norm_was_measured_fails_the_round() -> None:
    """The mechanism clips by the norm, so a longer block would have too little noise."""
    step = step_of(AddsNoise(needs_combined_norm=True), aggregator="the aggregator grows")
    round_ = AggregatedRound({"w": np.zeros(4)}, aggregator=Grows(), step=step)
    round_.give_update({"w": np.full(4, 1.0)})
    with pytest.raises(PluginError, match=r"^the aggregator grows .* norm 2 and then to 4;"):
        round_.close()


def test_the_distance_is_the_greatest_of_any_two_updates() -> None:
    """The mean over the tensors of the L2 distances."""
    mechanism = AddsNoise(needs_distance=True, clipping_norm=100.0)
    round_ = AggregatedRound(BASE, aggregator=FixedMean(), step=step_of(mechanism))
    given = [(1.0, 0.0), (1.0, 2.0), (4.0, 6.0)]
    for each in given:
        round_.give_update(update(*each))
    new = round_.close()
    wanted = (3 * np.sqrt(2) + 6 * np.sqrt(3)) / 2
    assert mechanism.seen[0].distance == pytest.approx(wanted)
    np.testing.assert_array_equal(new["first"], np.full(2, 1.5))
    assert round_.made is not None
    said = {f"agent.{at}": 0.25 for at in range(3)}
    assert round_.made.used == UsedCoefficients(agents=3, updates=said)


def test_one_update_has_no_distance_to_another() -> None:
    """And an update that is too long to be compared is refused."""
    mechanism = AddsNoise(needs_distance=True, needs_norm=False)
    round_ = AggregatedRound({"w": np.zeros(1)}, aggregator=FixedMean(), step=step_of(mechanism))
    assert "squared norm" in round_.give_update({"w": np.full(1, 1e150)})["agent.0"]
    round_.give_update({"w": np.ones(1)})
    round_.close()
    assert mechanism.seen[0].distance == 0.0


@pytest.mark.parametrize("distance", [False, True], ids=["total", "kept"])
@pytest.mark.parametrize("memory", [True, False], ids=["in memory", "in files"])
def test_a_round_without_an_update_makes_noise(
    distance: bool, memory: bool, tmp_path: Path
) -> None:
    """Its version is the base and the noise, so that no user learns that no agent was drawn."""
    mechanism = AddsNoise(needs_distance=distance, needs_combined_norm=True)
    step = step_of(mechanism, PlainNoise())
    spools = Spools(1 << 30 if memory else 0, tmp_path)
    base = {"w": np.full(3, 7.0, np.float32)}
    round_ = AggregatedRound(base, aggregator=FixedMean(), step=step, spools=spools)
    np.testing.assert_array_equal(round_.close()["w"], 7 + np.arange(3))
    assert round_.made is not None
    assert round_.made.used == UsedCoefficients(agents=0, updates={})
    assert round_.made.numbers["count"] == 5.0
    assert (mechanism.facts, mechanism.seen[0].norm) == ((), 0.0)


def test_a_round_without_an_update_and_without_a_divisor_fails() -> None:
    """There is nothing to divide by."""
    with pytest.raises(PluginError, match="the weights of all updates add up to 0"):
        AggregatedRound(BASE).close()


def test_a_number_that_overflows_names_the_mechanism() -> None:
    """It was the last to change it."""
    base = {"w": np.full(2, np.finfo(np.float32).max, np.float32)}

    class Far(PlainNoise):
        def normals(self, start: int, count: int, back: int = 0) -> Block:
            """Return more than float32 holds."""
            del start, back
            return np.full(count, 1e39)

    round_ = AggregatedRound(base, aggregator=FixedMean(), step=step_of(AddsNoise(), Far()))
    with pytest.raises(LayoutError, match="the update of update transform 'dp' overflows float32"):
        round_.close()


def test_a_third_partys_mechanism_gets_large_blocks() -> None:
    """Each block costs it a thread."""
    mechanism = AddsNoise()
    calls = PrivacyMechanismCalls(mechanism, PartCaller("update transform", "dp", True))
    private = PrivateStep(mechanism=calls, noise=None, cohort=4)
    base = {"w": np.zeros(BLOCK_NUMBERS + 1, np.float32)}
    round_ = AggregatedRound(base, aggregator=FixedMean(), step=ServerStep(private=private))
    round_.close()
    assert len(mechanism.seen) == 1
