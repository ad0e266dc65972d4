"""Public part of a round's record, under a privacy mechanism and without one."""

from dataclasses import replace

import pytest

from fedbus.training.params import PluginChoice
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.privacy import PrivacyTerms, public_spent
from fedbus.wire.round_records import (
    Contributor,
    Refusal,
    RoundRecord,
    public_record,
)
from fedbus.wire.round_traffic import RoundTraffic
from fedbus.wire.strategies import Strategy, StrategyState, TrainingFacts, hides_agents
from tests.sample_spent import SAMPLE_SPENT as SPENT

TERMS = PrivacyTerms(
    mechanism="dp-fixed", release="gaussian", noise_multiplier=1.0, delta=1e-5, cohort=2
)
OPEN = RoundRecord(
    job="digits-1",
    round=1,
    task=1,
    model="digits",
    parent=1,
    spec=BlobRef(digest="1" * 64, size=9),
    strategy=Strategy(id="fedavg", aggregator=PluginChoice(id="mean")),
    contributors=(
        Contributor(
            agent="agent.alice",
            task=1,
            examples=31,
            update="2" * 64,
            metrics={"loss": 0.25},
            facts=TrainingFacts(norm_bit=1.0),
            coefficient=0.5,
        ),
    ),
    refusals=(Refusal(agent="agent.bob", reason="agent.bob is offline"),),
    metrics={"loss": 0.25},
    seconds={"collected": 0.5},
    base_coefficient=0.75,
    state=StrategyState(rounds=1, numbers={"clipping_norm": 0.1}),
    traffic=RoundTraffic(updates=9, version=5, plain=7),
)
PRIVATE = replace(OPEN, strategy=replace(OPEN.strategy, privacy=TERMS), privacy=SPENT)


def test_all_of_a_record_without_a_mechanism_is_public() -> None:
    """Who contributed what is what users ask for."""
    assert not hides_agents(OPEN.strategy)
    assert not hides_agents(None)
    assert public_record(OPEN) is OPEN


@pytest.mark.parametrize(
    "record",
    [PRIVATE, replace(PRIVATE, privacy=None), replace(PRIVATE, strategy=OPEN.strategy)],
    ids=["as it is stored", "only its strategy says it", "only its ε says it"],
)
def test_no_agent_and_no_figure_of_one_is_public_under_a_mechanism(record: RoundRecord) -> None:
    """What stays is the job, its strategy, its ε, and what was computed from noisy sums."""
    assert hides_agents(PRIVATE.strategy)
    shown = public_record(record)
    assert shown == replace(
        record, contributors=(), refusals=(), metrics={}, base_coefficient=1.0, traffic=None
    )
    message = codec.pack(shown)
    for figure in (b"alice", b"bob", b"2" * 64, b"loss", b"norm_bit\xcb"):
        assert figure not in message
    assert b"clipping_norm" in message


def test_nothing_tells_how_large_a_secret_cohort_was() -> None:
    """Neither how long the round took, nor how often the agent with most took part."""
    spent = replace(SPENT, sampling="poisson", entries=5, participations=2)
    shown = public_record(replace(PRIVATE, privacy=spent))
    assert (shown.seconds, shown.privacy) == ({}, replace(spent, participations=5))
    terms = replace(TERMS, sampling="poisson")
    early = replace(PRIVATE, privacy=None, strategy=replace(OPEN.strategy, privacy=terms))
    assert (public_record(early).seconds, public_record(early).privacy) == ({}, None)
    assert public_spent(SPENT) is SPENT
