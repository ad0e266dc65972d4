"""Times as people read them."""

import pytest

from fedbus.cli.output.times import format_age, format_time
from fedbus.wire.timestamps import format_timestamp

NOW = 1_795_942_408.0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5.0, "0s"),
        (59.9, "59s"),
        (180.0, "3min"),
        (7_300.0, "2h"),
        (400 * 86_400.0, "400d"),
    ],
)
def test_an_age_has_one_unit(seconds: float, said: str) -> None:
    """Another machine's clock may be ahead of ours."""
    assert format_age(format_timestamp(NOW - seconds), NOW) == said


def test_what_is_not_known_is_not_guessed() -> None:
    """An older controller says no times."""
    assert format_age(None) == ""
    assert format_time(None) == "an unknown time"
    assert format_age(format_timestamp(0.0)).endswith("d")


def test_a_moment_is_said_in_utc() -> None:
    """Two people who talk about it may live apart."""
    assert format_time("2026-11-29T08:53:28.120Z") == "2026-11-29 08:53:28 UTC"
