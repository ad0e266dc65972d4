"""Ledger entries of rounds, and the digest of a set of updates."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.privacy.ledger_entries import (
    entry_of_plan,
    entry_of_round,
    is_entered_with_plan,
    noise_multiplier_of,
    trains_on_features,
)
from fedbus.privacy.update_set import digest_of_update_set
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus.wire.features import AgentFeatures
from fedbus.wire.privacy import OF_EACH_AGENT, LedgerEntry, PrivacyTerms
from fedbus.wire.round_records import Plan
from tests.fedbus.privacy.contributors import contributors_of

_BLOB = BlobRef(digest="0" * 64, size=1)
PLAN = Plan(
    job="job-1",
    round=3,
    task=7,
    base=ModelRef(model="m", version=2, weights=_BLOB, spec=_BLOB, source="repository.1"),
    collector="collector.1",
    cohort=("agent.c", "agent.a", "agent.b"),
    quorum=0,
    deadline_seconds=1.0,
)
TERMS = PrivacyTerms(
    mechanism="dp-fixed", release="gaussian", noise_multiplier=1.5, delta=1e-5, cohort=4
)
LOCAL = replace(TERMS, noise="agents")
texts = st.text(max_size=8)


sets = st.dictionaries(texts, st.tuples(texts, st.sampled_from([None, 0.0, 1.0])), max_size=5)


def digest_of(updates: dict[str, tuple[str, float | None]]) -> str:
    """The digest of updates with or without a norm bit."""
    blobs = {agent: blob for agent, (blob, _) in updates.items()}
    bits = {agent: bit for agent, (_, bit) in updates.items() if bit is not None}
    return digest_of_update_set(contributors_of(blobs, bits))


@given(sets, sets)
def test_two_sets_of_updates_have_one_digest_only_if_they_are_equal(
    first: dict[str, tuple[str, float | None]], second: dict[str, tuple[str, float | None]]
) -> None:
    """Whatever the names are: no separator is guessed."""
    assert (digest_of(first) == digest_of(second)) is (first == second)


def test_the_same_updates_with_another_norm_bit_are_another_set() -> None:
    """Their count is another sum, so it must not have the same noise."""
    updates = {"agent.a": "1" * 64, "agent.b": "2" * 64}
    a, b = "agent.a", "agent.b"
    bits: list[dict[str, float]] = [{}, {a: 0.0}, {a: 1.0}, {b: 1.0}, {a: 1.0 + 2**-52}]
    digests = {digest_of_update_set(contributors_of(updates, each)) for each in bits}
    assert len(digests) == len(bits)
    zeros = [{"agent.a": zero} for zero in (0, 0.0, -0.0)]
    assert len({digest_of_update_set(contributors_of(updates, each)) for each in zeros}) == 1


def test_the_digest_does_not_depend_on_the_order_of_arrival() -> None:
    """The stored entries of earlier rounds keep the digest that they were written with."""
    updates = contributors_of({"agent.a": "1" * 64, "agent.b": "2" * 64}, {"agent.b": 1.0})
    digest = digest_of_update_set(updates)
    assert digest == digest_of_update_set(reversed(updates))
    assert digest == "6e7c303703cd9238eb6deed7f8447b1605a5714acecc6380e5c98d62a1422250"
    assert len(digest_of_update_set(())) == 64


@pytest.mark.parametrize(
    ("changes", "with_plan"),
    [
        ({}, False),
        ({"release": "banded", "correlated": True}, False),
        ({"release": "metric"}, False),
        ({"noise": "agents"}, False),
        (OF_EACH_AGENT, True),
        ({"release": "laplace", **OF_EACH_AGENT}, True),
    ],
)
def test_what_agents_protect_against_the_collector_is_entered_with_the_plan(
    changes: dict[str, str], with_plan: bool
) -> None:
    """Such an update has left an agent whether or not the collector combines it."""
    terms = replace(TERMS, **changes)  # type: ignore[arg-type]  # literals
    assert is_entered_with_plan(terms) is with_plan
    entry = entry_of_round(PLAN, terms, contributors_of({"agent.a": "1" * 64}))
    assert (entry == entry_of_plan(PLAN, terms)) is with_plan


def test_the_entry_of_a_round_names_its_contributors_in_the_order_of_the_cohort() -> None:
    """A restarted collector, with the same updates in another order, sends an equal one."""
    updates = contributors_of({"agent.b": "2" * 64, "agent.c": "3" * 64})
    assert entry_of_round(PLAN, TERMS, updates) == LedgerEntry(
        job="job-1",
        round=3,
        task=7,
        agents=("agent.c", "agent.b"),
        updates=digest_of_update_set(updates),
        noise_multiplier=1.5,
    )


def test_the_entry_of_a_plan_names_the_whole_cohort_and_no_updates() -> None:
    """An agent that was asked may have released something, even if nothing of it arrives."""
    entry = entry_of_plan(PLAN, TERMS)
    assert (entry.agents, entry.updates, entry.noise_multiplier) == (PLAN.cohort, None, 1.5)


def test_a_round_without_an_update_has_an_entry() -> None:
    """Its noise is drawn all the same."""
    entry = entry_of_round(replace(PLAN, cohort=()), TERMS, ())
    assert (entry.agents, entry.updates) == ((), digest_of_update_set(()))


@pytest.mark.parametrize(
    ("terms", "came", "left"),
    [(TERMS, 1, 1.5), (LOCAL, 4, 1.5), (LOCAL, 1, 0.75), (LOCAL, 0, 0.0), (LOCAL, 9, 1.5)],
)
def test_noise_of_agents_is_less_if_fewer_came(terms: PrivacyTerms, came: int, left: float) -> None:
    """Each of the four wanted adds a quarter of the variance."""
    assert noise_multiplier_of(terms, came) == left


def test_a_plan_that_trains_on_features_releases_nothing() -> None:
    """They were paid for by the plan that asked for them."""
    features = replace(TERMS, release="features", noise="agents")
    blob = BlobRef(digest="a" * 64, size=1)
    trains = replace(PLAN, features=(AgentFeatures(agent="agent.a", features=blob, examples=1),))
    assert trains_on_features(trains, features)
    assert not trains_on_features(PLAN, features)
    assert not trains_on_features(trains, TERMS)
