"""The one place that reads clocks and makes incarnations."""

import secrets
import time

from fedbus.wire.timestamps import format_timestamp


def monotonic() -> float:
    """Seconds that only grow; their zero means nothing."""
    return time.monotonic()


def utc() -> str:
    """Write the time of the wall clock as messages have it; it may jump, in either direction."""
    return format_timestamp(time.time())


def incarnation() -> int:
    """Tell this start of a process from all others: milliseconds of the wall clock, and chance.

    Only its being different matters. Which of two began later is a hint, as clocks may be wrong.
    """
    return (int(time.time() * 1000) << 10 | secrets.randbelow(1 << 10)) % 2**53
