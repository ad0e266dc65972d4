"""Rounds of fixed-point numbers: what an offer may claim, and the ranges of the next round."""

from dataclasses import replace

import pytest

from fedbus.wire.encryption import EncryptionTerms, FixedPoint, Ranges
from fedbus_collector.aggregation.combined_blocks import UsedCoefficients
from fedbus_collector.rounds.offer_rules import refusal_reason
from fedbus_collector.rounds.progress import RoundProgress
from fedbus_collector.rounds.round_record import record_of
from tests.collector.harness import A, B, blob, mean, offer, order

UPDATE = blob(1.0, "delta")
FIXED_POINT = FixedPoint(bits=11, max_agents=3, max_examples=100)
TERMS = EncryptionTerms(
    scheme="bfv",
    key="a" * 64,
    parameters="b" * 64,
    poly_modulus_degree=4096,
    coeff_mod_bit_sizes=(54, 55),
    fixed_point=FIXED_POINT,
)


def round_of(*, adaptive: bool = True) -> RoundProgress:
    """Open an encrypted round of the small model, in which 20 examples count at most."""
    fixed_point = replace(FIXED_POINT, adaptive=adaptive)
    strategy = replace(mean(), encryption=replace(TERMS, fixed_point=fixed_point))
    return RoundProgress(order(strategy=strategy, ranges=(0, 0), max_examples=20), opened=0.0)


@pytest.mark.parametrize(
    ("examples", "ranges", "reason"),
    [
        (20, (0, -3), None),
        (21, (0, -3), "claims 21 examples; 20 count in this round"),
        (20, (0,), "states 1 ranges; the plan has 2"),
        (20, (), "states 0 ranges; the plan has 2"),
    ],
)
def test_an_offer_says_no_more_than_the_plan_allows(
    examples: int, ranges: Ranges, reason: str | None
) -> None:
    """The collector cannot read the update, so its weight is checked before it is added."""
    offered = offer(UPDATE, examples, ranges=ranges, metrics={})
    assert refusal_reason(round_of(), A, offered) == reason


def test_an_offer_needs_no_ranges_if_they_do_not_adapt() -> None:
    """Then an agent states none."""
    offered = offer(UPDATE, 20, metrics={})
    assert refusal_reason(round_of(adaptive=False), A, offered) is None


@pytest.mark.parametrize(("adaptive", "expected"), [(True, (-2, 2)), (False, (0, 0))])
def test_the_record_has_the_ranges_of_the_next_round(adaptive: bool, expected: Ranges) -> None:
    """Any collector can run the next round, and a restarted one knows them, too."""
    round_ = round_of(adaptive=adaptive)
    for agent, ranges in ((A, (-3, 1)), (B, (-2, -9))):
        round_.offers[agent] = offer(UPDATE, ranges=ranges, metrics={"loss": 3.0})
        round_.arrived.add(agent)
        round_.count(agent)
    record = record_of(round_, UsedCoefficients(agents=2, updates={A: 0.5, B: 0.5}))
    assert record.state is not None
    assert (record.state.rounds, record.state.ranges) == (1, expected)
    assert all(not each.metrics for each in record.contributors)
    assert not record.metrics


def test_a_round_of_readable_updates_has_no_ranges() -> None:
    """And without a server optimizer its strategy keeps nothing."""
    round_ = RoundProgress(order(), opened=0.0)
    assert round_.next_ranges == ()
    assert record_of(round_, UsedCoefficients(agents=0, updates={})).state is None
