"""Times in messages."""

from hypothesis import given
from hypothesis import strategies as st

from fedbus.core import clock
from fedbus.wire import codec
from fedbus.wire.documents import JobState
from fedbus.wire.timestamps import format_timestamp, parse_timestamp


def test_a_moment_is_rfc_3339_in_utc() -> None:
    """Every language and every dashboard reads it, and text sorts by time."""
    assert format_timestamp(0.0) == "1970-01-01T00:00:00.000Z"
    assert format_timestamp(1795942408.12) == "2026-11-29T08:53:28.120Z"


@given(st.floats(0, 4e9))
def test_a_moment_is_read_back_to_the_millisecond(seconds: float) -> None:
    """And is one that a message may hold."""
    moment = format_timestamp(seconds)
    assert abs(parse_timestamp(moment) - seconds) <= 0.0011
    said = JobState(
        job="j",
        model="m",
        phase="running",
        round=0,
        num_rounds=1,
        metrics={},
        reason="",
        at=moment,
    )
    assert codec.from_json(JobState, codec.to_json(said)) == said


def test_the_wall_clock_is_written_so() -> None:
    """The one place that reads it."""
    assert parse_timestamp(clock.utc()) > 1.7e9
