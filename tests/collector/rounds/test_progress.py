"""Facts of a round: in any order of arrival, each agent counts once or not at all."""

import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.data.dataset import Dataset
from fedbus.limits import MAX_MESSAGE_BYTES
from fedbus.training.params import TrainingParams
from fedbus.wire import codec
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.round_records import RoundRecord
from fedbus.wire.strategies import StepLimit, TrainingFacts
from fedbus_collector.aggregation.combined_blocks import UsedCoefficients
from fedbus_collector.rounds.offer_rules import refusal_reason
from fedbus_collector.rounds.progress import CloseDecision, RoundPhase, RoundProgress
from fedbus_collector.rounds.round_record import record_of
from tests.collector.harness import A, B, C, blob, mean, offer, order

UPDATE = blob(1.0, "delta")
MEAN = UsedCoefficients(agents=1, updates=None)
COHORT = tuple(f"agent.{number}" for number in range(5))


def round_of(**changes: Any) -> RoundProgress:  # noqa: ANN401 - of a plan
    """Open a round."""
    request = order(**changes)
    return RoundProgress(request, opened=0.0)


def counted(round_: RoundProgress, agent: str, examples: int = 10, **metrics: float) -> None:
    """Count an agent's update."""
    round_.offers[agent] = offer(UPDATE, examples, metrics=metrics)
    round_.arrived.add(agent)
    round_.count(agent)


@pytest.mark.parametrize(
    ("agent", "changes", "reason"),
    [
        ("agent.x", {}, "not in this round's cohort"),
        (A, {"base": 7}, "trained from version 7, not 1"),
        (A, {"round": 7}, "for round 7, not 1"),
        (B, {}, "lost"),
        (A, {}, None),
    ],
)
def test_an_offer_that_cannot_count_has_a_refusal_reason(
    agent: str, changes: dict[str, int], reason: str | None
) -> None:
    """Whatever its update contains."""
    round_ = round_of()
    round_.refuse(B, "lost")
    assert refusal_reason(round_, agent, offer(UPDATE, **changes)) == reason


@pytest.mark.parametrize(
    ("steps", "steps_per_epoch", "reason"),
    [
        (40, None, None),
        (41, None, "claims 41 steps; 40 are possible with 313 examples"),
        (10**9, None, "claims 1000000000 steps; 40 are possible with 313 examples"),
        (8, 2, None),
        (9, 2, "claims 9 steps; 8 are possible with 313 examples"),
        (40, 1000, None),
    ],
)
def test_more_steps_than_possible_are_refused(
    steps: int, steps_per_epoch: int | None, reason: str | None
) -> None:
    """FedNova multiplies the sum of all updates by them, so one claim could destroy the model."""
    limit = StepLimit(epochs=4, batch_size=32, steps_per_epoch=steps_per_epoch)
    round_ = RoundProgress(replace(order(), step_limit=limit), opened=0.0)
    facts = TrainingFacts(steps=steps)
    assert refusal_reason(round_, A, offer(UPDATE, 313, facts=facts)) == reason


def test_a_controller_that_knows_no_limit_sets_none() -> None:
    """An older one sends no `step_limit`."""
    facts = TrainingFacts(steps=10**9)
    assert refusal_reason(round_of(), A, offer(UPDATE, facts=facts)) is None


@given(
    examples=st.integers(1, 300),
    size=st.integers(1, 70),
    epochs=st.integers(1, 3),
    steps_per_epoch=st.none() | st.integers(1, 9),
)
def test_no_training_makes_more_steps_than_its_limit(
    examples: int, size: int, epochs: int, steps_per_epoch: int | None
) -> None:
    """Steps are counted as an agent's data set is read."""
    params = TrainingParams(batch_size=size, epochs=epochs, steps_per_epoch=steps_per_epoch)
    rows = np.zeros((examples, 1), np.float32)
    made = sum(1 for _ in Dataset(examples, lambda: [(rows, rows)]).steps(params))
    limit = StepLimit(epochs=epochs, batch_size=size, steps_per_epoch=steps_per_epoch)
    assert epochs <= made <= limit.most(examples) <= made + epochs


def test_after_the_deadline_offers_are_refused() -> None:
    """Updates that arrived before still count."""
    round_ = round_of()
    round_.deadline_passed = True
    assert refusal_reason(round_, A, offer(UPDATE)) == "the offer came after the deadline"


def test_an_update_that_has_arrived_cannot_be_refused() -> None:
    """Nor can an agent outside the cohort; the first reason is kept."""
    round_ = round_of()
    round_.arrived.add(A)
    counted(round_, B)
    assert not round_.refuse(A, "lost")
    assert not round_.refuse(B, "lost")
    assert not round_.refuse("agent.x", "lost")
    assert round_.refuse(C, "lost")
    assert round_.refuse(C, "too large")
    assert round_.refused == {C: "lost"}
    assert [agent for agent in (A, B, C) if round_.has_update(agent)] == [A, B]


def test_a_round_that_is_not_open_any_more_decides_nothing() -> None:
    """The decision was made."""
    round_ = round_of()
    for phase in (RoundPhase.AGGREGATING, RoundPhase.COMMITTING, RoundPhase.ENDED):
        round_.phase = phase
        assert round_.close_decision() is CloseDecision.WAIT


def test_the_record_says_who_counted_and_why_others_did_not() -> None:
    """In the order of the cohort; figures are means by examples."""
    round_ = round_of()
    counted(round_, C, 30, loss=1.0)
    counted(round_, A, 10, loss=2.0, accuracy=0.5)
    record = record_of(round_, UsedCoefficients(agents=2, updates={A: 0.25, C: 0.75}))
    assert [c.agent for c in record.contributors] == [A, C]
    assert [(r.agent, r.reason) for r in record.refusals] == [(B, "no update by the deadline")]
    assert record.metrics == {"train_loss": 1.25, "train_accuracy": 0.5}
    assert (record.parent, record.strategy) == (1, mean())
    assert [c.coefficient for c in record.contributors] == [0.25, 0.75]


def test_updates_that_are_not_used_are_in_no_mean_of_metrics() -> None:
    """Whom Krum excludes must not choose the loss that a job reports."""
    round_ = round_of()
    for agent, loss in ((A, 1.0), (B, 100.0), (C, 3.0)):
        counted(round_, agent, loss=loss)
    record = record_of(round_, UsedCoefficients(agents=2, updates={A: 0.5, B: 0.0, C: 0.5}))
    assert record.metrics == {"train_loss": 2.0}
    assert len(record.contributors) == 3


def test_a_round_that_falls_short_tells_the_reasons_that_came_most() -> None:
    """Only as many as fit into one line."""
    round_ = round_of(cohort=COHORT, quorum=2)
    assert round_.shortfall() == "0 of 5 updates, 2 are needed; 5 not waited for"
    for agent, reason in zip(
        COHORT, ("x", "out of memory", "y", "out of memory", "z"), strict=True
    ):
        round_.refuse(agent, reason)
    said = "0 of 5 updates, 2 are needed; 2 left out: out of memory; 1 left out: x; 1 left out: y"
    assert round_.shortfall() == said


def test_a_record_fits_a_message_whatever_agents_send() -> None:
    """Hundreds of agents, each with its own 64 figures near the largest float, or a long excuse."""
    cohort = tuple(f"agent.{number}" for number in range(600))
    round_ = round_of(cohort=cohort, quorum=1)
    for number, agent in enumerate(cohort):
        if number % 2:
            figures = {f"m{i}-{number}": 1.7976931348623157e308 for i in range(63)}
            counted(round_, agent, 2**52, all=1.7976931348623157e308, **figures)
        else:
            round_.refuse(agent, "because " * 500)
    packed = codec.pack(record_of(round_, MEAN))
    record = codec.unpack(RoundRecord, packed)
    assert len(packed) < MAX_MESSAGE_BYTES / 2
    assert len(record.contributors) == len(record.refusals) == 300
    assert all(math.isfinite(value) for value in record.metrics.values())


def test_a_mean_beyond_the_largest_float_is_left_out() -> None:
    """Eleven shares of the largest float add up to more, by rounding; no message holds that."""
    cohort = tuple(f"agent.{number}" for number in range(11))
    round_ = round_of(cohort=cohort)
    for agent in cohort:
        counted(round_, agent, 1, huge=sys.float_info.max, loss=1.0)
    assert record_of(round_, MEAN).metrics.keys() == {"train_loss"}


@given(
    quorum=st.integers(1, 5),
    events=st.lists(
        st.tuples(
            st.sampled_from(["fetch", "arrive", "count", "refuse", "late"]),
            st.sampled_from(COHORT),
        ),
        max_size=30,
    ),
)
def test_the_close_decision_follows_from_the_facts_alone(
    quorum: int, events: list[tuple[str, str]]
) -> None:
    """Close with all updates, or at the deadline with a quorum; fail without a possible quorum."""
    round_ = round_of(cohort=COHORT, quorum=quorum)
    round_.phase = RoundPhase.COLLECTING
    for what, agent in events:
        known = round_.has_update(agent) or agent in round_.refused
        if what == "fetch" and not known and not round_.deadline_passed:
            round_.offers[agent] = offer(UPDATE)
            round_.fetching.add(agent)
        elif what == "arrive" and agent in round_.fetching:
            round_.fetching.discard(agent)
            round_.arrived.add(agent)
        elif what == "count" and agent in round_.arrived:
            round_.count(agent)
        elif what == "refuse":
            round_.refuse(agent, "because")
        elif what == "late":
            round_.deadline_passed = True
            round_.fetching.clear()
        places = [{*round_.fetching}, {*round_.arrived}, {*round_.counted}, {*round_.refused}]
        assert sum(map(len, places)) == len(set().union(*places))
        assert set(round_.awaiting_receipt).isdisjoint(round_.refused)
        have, possible = len(round_.counted), len(COHORT) - len(round_.refused)
        match round_.close_decision():
            case CloseDecision.FAIL:
                assert possible < quorum or (
                    round_.deadline_passed and have < quorum and not round_.arrived
                )
            case CloseDecision.CLOSE:
                assert have >= quorum
                assert not round_.arrived
                assert have == possible or round_.deadline_passed
            case CloseDecision.WAIT:
                assert possible >= quorum
                assert have < possible
                assert not round_.deadline_passed or round_.arrived


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"accuracy": 2.18}, "accuracy: expected a fraction, 0 to 1, got 2.18"),
        ({"loss": -3.0, "f1": -0.5}, "f1: expected a fraction, 0 to 1, got -0.5"),
        ({"loss": 2.18, "accuracy": 1.0000000001}, None),
    ],
)
def test_an_update_whose_figures_cannot_be_true_does_not_count(
    metrics: dict[str, float], reason: str | None
) -> None:
    """An agent that measures wrongly may train wrongly; a sum of shares is cut to 1."""
    round_ = round_of()
    assert refusal_reason(round_, A, replace(offer(blob(1.0)), metrics=metrics)) == reason


def test_a_mean_of_shares_is_a_share() -> None:
    """Rounding would make it more than 1."""
    round_ = round_of()
    for agent in (A, B):
        counted(round_, agent, 3, accuracy=1.0 + 1e-9)
    assert record_of(round_, MEAN).metrics == {"train_accuracy": 1.0}


def test_the_energy_of_a_round_is_that_of_its_contributors() -> None:
    """As they state it; who states none adds none."""
    used = EnergyUsed(joules={"training": 3.0}, grams=0.5)
    round_ = round_of()
    for agent, energy in ((A, used), (B, None), (C, used)):
        round_.offers[agent] = replace(offer(UPDATE, 10), energy=energy)
        round_.count(agent)
    record = record_of(round_, MEAN)
    assert [one.energy for one in record.contributors] == [used, None, used]
    assert record.energy == EnergyUsed(joules={"training": 6.0}, grams=1.0)
