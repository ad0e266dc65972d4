"""Asks are repeated until they are answered."""

import itertools
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.core.retries import FIRST_SECONDS, LONGEST_ASK_SECONDS, Retries
from tests.sample_key import SampleKey

seeds = st.integers(0, 2**32)
KEY = SampleKey("key")


def times_asked(asks: Retries, until: float) -> list[float]:
    """Advance the clock from one due time to the next; return when the ask was repeated."""
    times = []
    while (at := asks.next()) is not None and at <= until:
        times += [at] * len(asks.due(at))
    return times


@given(seed=seeds)
def test_the_pauses_double_up_to_fifteen_seconds(seed: int) -> None:
    """1, 2, 4, 8, 15, 15 …, each a fifth more or less."""
    asks = Retries(Random(seed))
    asks.start(KEY, "topic", b"payload", 100.0)
    times = [100.0, *times_asked(asks, 300.0)]
    pauses = [b - a for a, b in itertools.pairwise(times)]
    assert len(pauses) >= 12
    for pause, expected in zip(pauses, (1, 2, 4, 8, *[LONGEST_ASK_SECONDS] * 100), strict=False):
        assert 0.8 * expected - 1e-9 <= pause <= 1.2 * expected + 1e-9


def test_a_fleet_does_not_ask_in_step() -> None:
    """After a broker's restart all nodes ask at once, but only once."""
    firsts = set()
    for seed in range(100):
        asks = Retries(Random(seed))
        asks.start(KEY, "topic", b"", 0.0)
        firsts.add(asks.next())
    assert len(firsts) == 100


def test_what_is_answered_is_asked_no_more() -> None:
    """Nor does it matter that an answer comes twice."""
    asks = Retries(Random(1))
    asks.start(KEY, "topic", b"payload", 0.0)
    assert KEY in asks
    asks.cancel(KEY)
    asks.cancel(KEY)
    assert KEY not in asks
    assert asks.next() is None
    assert asks.due(100.0) == []
    assert asks.reconnected(100.0) == []


def test_the_same_key_asks_the_newer_thing_from_its_first_pause() -> None:
    """A core that changes its mind says so once."""
    asks = Retries(Random(1))
    asks.start(KEY, "topic", b"old", 0.0)
    times_asked(asks, 60.0)
    asks.start(KEY, "topic", b"new", 100.0)
    at = asks.next()
    assert at is not None
    assert at == pytest.approx(100 + FIRST_SECONDS, abs=0.2)
    assert asks.due(at) == [("topic", b"new")]


def test_a_new_connection_asks_everything_again_at_once() -> None:
    """In the order it was asked first, and impatiently again."""
    asks = Retries(Random(1))
    asks.start(SampleKey("a"), "topic/a", b"1", 0.0)
    asks.start(SampleKey("b"), "topic/b", b"2", 0.0)
    times_asked(asks, 100.0)
    assert asks.reconnected(100.0) == [("topic/a", b"1"), ("topic/b", b"2")]
    assert len(times_asked(asks, 100 + 1.2 * FIRST_SECONDS)) == 2


@given(seed=seeds, answered=st.integers(0, 3))
def test_asks_do_not_disturb_each_other(seed: int, answered: int) -> None:
    """Each has a clock of its own."""
    asks = Retries(Random(seed))
    for key in range(4):
        asks.start(SampleKey("key", key), f"topic/{key}", b"", float(key))
    asks.cancel(SampleKey("key", answered))
    asked = []
    while (at := asks.next()) is not None and at < 10:
        asked += [topic for topic, _ in asks.due(at)]
    assert set(asked) == {f"topic/{key}" for key in range(4) if key != answered}
