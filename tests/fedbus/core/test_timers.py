"""Timers wake for each key once, at its latest time."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fedbus.core.timers import Timers

keys = st.integers(0, 4)
times = st.integers(0, 50).map(float)


class TimersAsADict(RuleBasedStateMachine):
    """What a dict of times would do, without its search for the earliest."""

    def __init__(self) -> None:
        super().__init__()
        self.timers = Timers[int]()
        self.times: dict[int, float] = {}

    @rule(key=keys, at=times)
    def set(self, key: int, at: float) -> None:
        self.timers.set(key, at)
        self.times[key] = at

    @rule(key=keys)
    def cancel(self, key: int) -> None:
        self.timers.cancel(key)
        self.times.pop(key, None)

    @rule(now=times)
    def wake(self, now: float) -> None:
        due = list(self.timers.due(now))
        assert sorted(due, key=str) == sorted(
            (k for k, at in self.times.items() if at <= now), key=str
        )
        woke_at = [self.times.pop(int(str(key))) for key in due]
        assert woke_at == sorted(woke_at)

    @invariant()
    def knows_the_earliest(self) -> None:
        assert self.timers.next() == min(self.times.values(), default=None)
        assert len(self.timers) == len(self.times)


TestTimersAsADict = TimersAsADict.TestCase
TestTimersAsADict.settings = settings(max_examples=40, stateful_step_count=25)


def test_what_is_cancelled_while_waking_does_not_wake() -> None:
    """The first of two replies cancels the second's timer, which then does not fire."""
    timers = Timers[str]()
    for key in "abc":
        timers.set(key, 1.0)
    woke = []
    for woken in timers.due(1.0):
        woke.append(woken)
        timers.cancel("b")
        if woken == "a":
            timers.set("c", 5.0)
    assert woke == ["a"]
    assert timers.next() == 5.0


def test_what_is_set_while_waking_waits_for_the_next_call() -> None:
    """A core that wakes at once, again and again, does not delay the rest of the node."""
    timers = Timers[str]()
    timers.set("a", 1.0)
    woke = []
    for key in timers.due(1.0):
        woke.append(key)
        timers.set(key, 1.0)
    assert woke == ["a"]
    assert list(timers.due(1.0)) == ["a"]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=5))
def test_a_timer_that_is_always_postponed_takes_no_memory(times: list[float]) -> None:
    """A deadline set again with every chunk leaves no entries behind."""
    timers = Timers[str]()
    for _ in range(300):
        for at in times:
            timers.set("deadline", at)
    assert len(timers._heap) < 200  # noqa: SLF001 - its size is what this is about
    assert timers.next() == times[-1]
