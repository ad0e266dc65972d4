"""The ledger's rules: who may take part, one entry for each task, what the accountant composes."""

from itertools import pairwise
from math import inf, sqrt
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.privacy.ledger import (
    Composition,
    Ledger,
    eligible,
    participation_fault,
    planned_composition,
)
from fedbus.wire.privacy import NoiseStep, Participation
from tests.fedbus.privacy.privacy_examples import entry, terms


def test_a_new_ledger_lets_every_agent_take_part_and_has_spent_nothing() -> None:
    """The first plan of a job has no ledger to be compared with."""
    ledger = Ledger()
    assert ledger.participations() == ()
    assert ledger.participation_fault(terms(min_separation=5), ["agent.1"]) is None
    assert ledger.composition() == Composition()


def test_a_participation_counts_entries_and_names_the_last_one() -> None:
    """Steps count ledger entries, so a failed round whose noise was drawn is one as well."""
    ledger = Ledger([entry(1, 1, 2), entry(4, 2), entry(9, 1)])
    assert ledger.participations() == (
        Participation(agent="agent.1", count=2, last=3),
        Participation(agent="agent.2", count=2, last=2),
    )
    assert ledger.participation("agent.3") is None


def test_an_agent_may_return_after_min_separation_steps() -> None:
    """With 1 an agent may take part in consecutive steps; with 3 two steps must lie between."""
    ledger = Ledger([entry(1, 1)])
    assert ledger.participation_fault(terms(min_separation=1), ["agent.1"]) is None
    wanted = terms(min_separation=3)
    assert ledger.participation_fault(wanted, ["agent.2", "agent.1"]) == (
        "agent agent.1 has taken part in entry 1 of the job's ledger; min_separation 3 allows it "
        "again from entry 4, and the next one is entry 2"
    )
    ledger.append(entry(2, 2))
    assert not ledger.eligible(wanted, "agent.1")
    ledger.append(entry(3, 3))
    assert ledger.eligible(wanted, "agent.1")


def test_an_agent_may_take_part_max_participations_times() -> None:
    """The sensitivity of banded noise is computed for this number."""
    ledger = Ledger([entry(1, 1), entry(2, 1)])
    assert ledger.participation_fault(terms(max_participations=3), ["agent.1"]) is None
    assert ledger.participation_fault(terms(max_participations=2), ["agent.1"]) == (
        "agent agent.1 has taken part in 2 entries of the job's ledger, the last is entry 2; "
        "max_participations allows 2"
    )


def test_the_controller_decides_as_the_repository_does() -> None:
    """It has the participations and the number of entries, not the entries."""
    ledger = Ledger([entry(1, 1, 2), entry(2, 3)])
    wanted = terms(min_separation=2, max_participations=1)
    had = {each.agent: each for each in ledger.participations()}
    for agent in ("agent.1", "agent.2", "agent.3", "agent.4"):
        assert eligible(wanted, had.get(agent), 2) == ledger.eligible(wanted, agent)
        assert participation_fault(wanted, [agent], had, 2) == ledger.participation_fault(
            wanted, [agent]
        )
    assert eligible(wanted, Participation(agent="agent.5", count=0, last=0), 0)


def test_a_task_has_one_entry() -> None:
    """The difference of two sums with the same noise would have no noise."""
    ledger = Ledger([entry(1, 1, 2)])
    assert ledger.has(entry(1, 2, 1))
    ledger.append(entry(1, 2, 1))
    assert ledger.entries == 1
    for other in (
        entry(1, 1),
        entry(1, 1, 2, updates="b"),
        entry(1, 1, 2, updates=""),
        entry(1, 1, 2, multiplier=2.0),
    ):
        assert not ledger.has(other)
        assert ledger.task_fault(other) is not None
        with pytest.raises(ValueError, match="task 1 of job j has a ledger entry for other"):
            ledger.append(other)
    assert ledger.entries == 1
    assert not ledger.has(entry(2, 1, 2))
    assert ledger.task_fault(entry(2, 1, 2)) is None


def test_steps_are_what_collectors_draw_earlier_noise_from() -> None:
    """In the order of the entries; noise of agents cannot be drawn by a collector."""
    ledger = Ledger([entry(3, 1), entry(1, 2, updates=""), entry(2, 2, updates="b")])
    assert ledger.steps() == (
        NoiseStep(round=3, task=3, updates="a" * 64),
        NoiseStep(round=2, task=2, updates="b" * 64),
    )


def test_the_composition_is_that_of_the_agent_with_most() -> None:
    """ε holds for every agent, so it is that of the one whose data were used most."""
    ledger = Ledger([entry(1, 1, multiplier=2.0), entry(2, multiplier=2.0), entry(3, 1, 2)])
    assert ledger.composition() == Composition(
        entries=3,
        participations=2,
        precision=1.25,
        multipliers=((1.0, 1), (2.0, 2)),
        separation=2,
    )
    after = ledger.composition_with(["agent.2", "agent.2"], 1.0)
    assert (after.entries, after.participations, after.separation) == (4, 2, 1)
    assert after.precision == 2.0
    assert ledger.composition().entries == 3


def test_an_entry_without_noise_is_infinitely_precise() -> None:
    """So its ε is not finite, instead of a division by zero; a tiny multiplier is the same."""
    assert Ledger([entry(1, 1, multiplier=0.0)]).composition().precision == inf
    assert Ledger([entry(1, 1, multiplier=1e-200)]).composition().precision == inf
    assert Ledger([entry(1, multiplier=0.0)]).composition().precision == 0


@given(
    st.lists(st.tuples(st.sets(st.integers(1, 5)), st.sampled_from([0.5, 1.0, 3.0])), max_size=12)
)
def test_a_composition_equals_what_its_definition_says(
    drawn: list[tuple[set[int], float]],
) -> None:
    """The ledger adds up as it goes; this computes each fact from all entries."""
    entries = [entry(n, *who, multiplier=sigma) for n, (who, sigma) in enumerate(drawn, 1)]
    places = {
        agent: [n for n, (who, _) in enumerate(drawn) if agent in who] for agent in range(1, 6)
    }
    sums = [sum(drawn[n][1] ** -2 for n in places[agent]) for agent in places]
    gaps = [b - a for at in places.values() for a, b in pairwise(at)]
    found = Ledger(entries).composition()
    assert found.entries == len(drawn)
    assert found.participations == max(map(len, places.values()))
    assert found.precision == pytest.approx(max(sums))
    assert found.separation == min(gaps, default=None)
    sigmas = [sigma for _, sigma in drawn]
    assert found.multipliers == tuple(sorted((s, sigmas.count(s)) for s in set(sigmas)))


@pytest.mark.parametrize(("rounds", "times"), [(0, 0), (3, 1), (5, 3)])
def test_a_planned_composition_is_that_of_the_ledger_it_becomes(rounds: int, times: int) -> None:
    """Noise is calibrated with the one, and ε is computed with the other."""
    wanted = terms(noise_multiplier=2.0, min_separation=2)
    ledger = Ledger(
        entry(n, *([1] if n % 2 and n // 2 < times else []), multiplier=2.0)
        for n in range(1, rounds + 1)
    )
    assert planned_composition(wanted, rounds, times) == ledger.composition()


def test_a_thousand_entries_of_a_thousand_agents_are_cheap() -> None:
    """The repository appends one in each round, and builds the ledger when it starts."""
    agents = range(1000)
    entries = [entry(task, *agents) for task in range(1, 101)]
    start = process_time()
    ledger = Ledger(entries)
    assert process_time() - start < 5  # 100 entries: measured 0.1 s
    assert ledger.composition().precision == pytest.approx(100)
    assert sqrt(1 / ledger.composition().precision) == pytest.approx(0.1)
