"""The oracle's computation of freezing and synchronization: what it accepts and what it notices."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedbus.simulation.reference_observers import (
    ObservedRound,
    observed_arrays,
    observed_numbers,
)
from fedbus.simulation.stored_records import RecordsError
from fedbus.training.params import PluginChoice
from fedbus.wire.compression import FREEZING_STATE, SYNC_STATE, Freezing, SyncFrequency
from fedbus.wire.strategies import Strategy

MEAN = PluginChoice(id="mean")
FREEZES = Strategy(
    id="fedavg",
    aggregator=MEAN,
    freezing=Freezing(stability_threshold=0.5, moving_average=0.5, tight_threshold=0.3),
)
SYNCS = Strategy(id="fedavg", aggregator=MEAN, sync=SyncFrequency(epochs=6, window=2, warm_up=0))


def vector(*numbers: float) -> Any:  # noqa: ANN401 - an array
    """Return numbers as float64."""
    return np.array(numbers, np.float64)


FROZEN = ObservedRound(
    what="round 2",
    # A number that drifts, one that swings, one that is frozen, one that never moved.
    update=vector(1, -1, 0, 0),
    frozen=np.array([False, False, True, False]),
    round=2,
    rng=np.random.default_rng(0),
    before=dict(
        zip(
            FREEZING_STATE,
            (vector(1, 1, 0.25, 0), vector(1, 1, 1, 0), vector(2, 2, 3, 2), vector(0, 0, 1, 0)),
            strict=True,
        )
    ),
    numbers_before={"freezing_threshold": 0.5, "freezing_ratio": 0.25},
    after=dict(
        zip(
            FREEZING_STATE,
            (vector(1, 0, 0.25, 0), vector(1, 1, 1, 0), vector(3, 4, 3, 3), vector(0, 1, 1, 0)),
            strict=True,
        )
    ),
    numbers_after={"freezing_threshold": 0.5, "freezing_ratio": 0.25},
    frozen_after=np.array([False, True, False, False]),
)


def test_a_state_that_follows_is_accepted() -> None:
    """By hand: the second number is frozen in round 3, the third one is sent again."""
    FROZEN.check(FREEZES)
    assert observed_arrays(FREEZES) == FREEZING_STATE
    assert observed_arrays(replace(FREEZES, sync=SyncFrequency())) == (*FREEZING_STATE, *SYNC_STATE)
    assert observed_numbers(FREEZES) == ("freezing_threshold", "freezing_ratio")


@pytest.mark.parametrize("name", FREEZING_STATE)
def test_another_array_is_noticed(name: str) -> None:
    """In the number that was frozen, which nothing may change."""
    wrong = {**FROZEN.after, name: FROZEN.after[name] + vector(0, 0, 0.5, 0)}
    with pytest.raises(RecordsError, match="round 2"):
        replace(FROZEN, after=wrong).check(FREEZES)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"frozen_after": np.array([False, True, True, False])}, "contradict the state's arrays"),
        ({"numbers_after": {"freezing_threshold": 0.5}}, "expected"),
        (
            {"numbers_after": {"freezing_threshold": 0.25, "freezing_ratio": 0.25}},
            "expected {'freezing_threshold': 0.5",
        ),
    ],
    ids=["bits", "no ratio", "threshold"],
)
def test_what_contradicts_the_arrays_is_noticed(changes: Mapping[str, Any], reason: str) -> None:
    """Bits and numbers follow from the arrays."""
    with pytest.raises(RecordsError, match=reason):
        replace(FROZEN, **changes).check(FREEZES)


def test_bits_of_a_strategy_that_freezes_nothing_are_noticed() -> None:
    """They would stop its training."""
    with pytest.raises(RecordsError, match="its strategy freezes none"):
        FROZEN.check(SYNCS)


SYNCED = ObservedRound(
    what="round 4",
    update=vector(1, -1),
    frozen=np.zeros(2, np.bool_),
    round=4,
    rng=np.random.default_rng(0),
    before=dict(zip(SYNC_STATE, (vector(0.04, 0), vector(0, -0.04)), strict=True)),
    numbers_before={"sync_epochs": 6, "sync_window": 2, "sync_minimum": 0.5, "sync_since": 0},
    after=dict(zip(SYNC_STATE, (vector(0.0496, 0), vector(0, -0.0496)), strict=True)),
    numbers_after={"sync_epochs": 3, "sync_window": 4, "sync_minimum": 1.1, "sync_since": 3},
)


def test_the_epochs_are_halved_when_the_consistency_has_had_no_minimum() -> None:
    """Three rounds after the last one, with a window of two."""
    SYNCED.check(SYNCS)
    assert observed_numbers(SYNCS)[0] == "sync_epochs"
    early = {"sync_epochs": 6, "sync_window": 2, "sync_minimum": 0.5, "sync_since": 2}
    replace(SYNCED, numbers_before=early, numbers_after=early).check(SYNCS)
    with pytest.raises(RecordsError, match="'sync_epochs': 6"):
        replace(SYNCED, numbers_before=early).check(SYNCS)
    wrong = {**SYNCED.after, "sync_positive": vector(0.05, 0)}
    with pytest.raises(RecordsError, match="sync_positive"):
        replace(SYNCED, after=wrong).check(SYNCS)


def test_averages_that_begin_again_have_no_past() -> None:
    """After a halving; the first consistency is then the minimum."""
    again = {**SYNCED.numbers_after}
    after = dict(zip(SYNC_STATE, (vector(0.01, 0), vector(0, -0.01)), strict=True))
    numbers = {"sync_epochs": 3, "sync_window": 4, "sync_minimum": 1.0, "sync_since": 3}
    replace(SYNCED, numbers_before=again, after=after, numbers_after=numbers).check(SYNCS)
