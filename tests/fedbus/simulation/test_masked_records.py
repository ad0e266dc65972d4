"""The oracle of masked jobs finds sums of other updates than those of the recorded contributors."""

from dataclasses import replace

import numpy as np
import pytest

from fedbus.digest import digest_of
from fedbus.model.fixed_point import to_fixed_point
from fedbus.simulation.masked_records import (
    MaskedName,
    UpdateBeforeMask,
    check_masked_records,
    readable_updates,
)
from fedbus.simulation.stored_records import RecordsError
from fedbus.wire.strategies import StrategyState
from tests.fedbus.simulation.test_oracle import Held, true_trail
from tests.masked_peer import TERMS
from tests.repository.harness import JOB, LAYOUT, update

FINE = replace(TERMS, fixed_point=replace(TERMS.fixed_point, bits=24))
"""Fine enough for the tolerance of the oracle, with numbers that are multiples of a step."""
RANGES = tuple(5 for _ in LAYOUT.shared)
EXAMPLES = {"agent.a": 1, "agent.b": 3}
Made = dict[MaskedName, UpdateBeforeMask]


@pytest.fixture(name="held")
def _held() -> Held:
    return true_trail()


def make_masked(held: Held) -> Made:
    """Have the rounds of a trail be masked ones, and return what was masked."""
    made: Made = {}
    for at in (1, 2):
        record = held.rounds[at].record
        assert record is not None
        strategy = replace(record.strategy, masking=FINE)
        held.record(at, strategy=strategy, state=StrategyState(rounds=at, ranges=RANGES))
        for number, (agent, examples) in enumerate(EXAMPLES.items(), start=1):
            value = 10 * at + number
            arrays = {t.name: np.full(t.shape, value, np.float64) for t in LAYOUT.shared}
            rng = np.random.default_rng(at)
            numbers = to_fixed_point(arrays, LAYOUT, RANGES, 24, examples / 3, rng)
            made[agent, at, digest_of(update(value))] = UpdateBeforeMask(
                numbers=numbers, ranges=RANGES, max_examples=3
            )
    return made


def test_sums_of_the_contributors_pass(held: Held) -> None:
    """The updates of versions whose weights are deleted are not needed."""
    made = make_masked(held)
    assert check_masked_records(held, made, job=JOB).summed == 2
    assert readable_updates(held, made, job="another") == {}
    held.version(1, kept=False)
    assert {task for _, task in readable_updates(held, made, job=JOB)} == {2}


def test_another_sum_is_found(held: Held) -> None:
    """One number of one agent is another one."""
    made = make_masked(held)
    next(iter(made.values())).numbers[4] += 100
    with pytest.raises(RecordsError, match="is not the mean of its updates"):
        check_masked_records(held, made, job=JOB)


def test_an_update_that_was_never_masked_is_found(held: Held) -> None:
    """Its agent has masked others, or none."""
    made = make_masked(held)
    del made[next(iter(made))]
    with pytest.raises(RecordsError, match=r"counts an update that agent\.a did not mask"):
        check_masked_records(held, made, job=JOB)


def test_other_ranges_than_those_of_the_round_before_are_found(held: Held) -> None:
    """They are in the state that the round left."""
    made = make_masked(held)
    last = [*made][-1]
    made[last] = replace(made[last], ranges=(6, *RANGES[1:]))
    with pytest.raises(RecordsError, match="to other ranges"):
        check_masked_records(held, made, job=JOB)
