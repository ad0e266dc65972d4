"""Sums of masked updates: equal to the plain sum, whichever agents drop out, at any step."""

from itertools import product

import numpy as np
import pytest

from fedbus.secure_aggregation.neighbours import least_of, tolerance_of
from tests.fedbus.secure_aggregation.masked_agents import Federation, names, terms


@pytest.mark.parametrize(("count", "neighbours"), [(3, 2), (5, 20), (12, 4), (31, 10)])
def test_the_sum_is_the_plain_sum_if_all_agents_answer(count: int, neighbours: int) -> None:
    """On a circle of neighbours as in a complete graph."""
    federation = Federation(count, terms=terms(neighbours))
    federation.run()
    assert federation.collector.failed == ""
    assert federation.collector.survivors == federation.names
    assert np.array_equal(federation.unmasked(), federation.plain(federation.names))


@pytest.mark.parametrize("seed", range(3))
def test_a_tenth_of_a_hundred_agents_drops_out_at_each_step(seed: int) -> None:
    """Those whose masked updates came are in the sum, whether they answer later or not.

    All are neighbours, and the terms are those that a job may have: 60 agents are left at the end,
    and 54 of the 90 that have made keys are needed.
    """
    tolerant = terms(99, 0.6)
    assert tolerance_of(tolerant, 100).colluders == 11
    federation = Federation(100, terms=tolerant, seed=seed)
    rng = np.random.default_rng(seed)
    left, gone = list(federation.names), []
    for _ in range(5):
        gone.append([str(name) for name in rng.choice(left, len(left) // 10, replace=False)])
        left = [name for name in left if name not in gone[-1]]
    keys, shares, mask, survivors, unmask = gone
    federation.run(
        {"keys": keys, "shares": shares, "mask": mask, "survivors": survivors, "unmask": unmask}
    )
    assert federation.collector.failed == ""
    expected = tuple(sorted({*left, *survivors, *unmask}))
    assert len(expected) == 73
    assert federation.collector.survivors == expected
    assert np.array_equal(federation.unmasked(), federation.plain(expected))


@pytest.mark.parametrize("count", [4, 5])
def test_each_set_of_droppers_gives_the_plain_sum_or_fails(count: int) -> None:
    """Each agent drops out before its mask, after it, or not: all combinations."""
    least = least_of(0.67, count)
    succeeded = 0
    for fates in product(("stays", "before", "after"), repeat=count):
        federation = Federation(count, numbers=5)
        gone = {
            fate: [name for name, each in zip(names(count), fates, strict=True) if each == fate]
            for fate in ("stays", "before", "after")
        }
        federation.run({"mask": gone["before"], "survivors": gone["after"]})
        survivors = sorted(gone["stays"] + gone["after"])
        if len(gone["stays"]) < least:
            assert federation.collector.failed
            assert federation.collector.requests() == {}
        else:
            succeeded += 1
            assert list(federation.collector.survivors) == survivors
            assert np.array_equal(federation.unmasked(), federation.plain(survivors))
    assert succeeded == {4: 9, 5: 11}[count]
