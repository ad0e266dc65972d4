"""Clocks, and the incarnation of a process; no other module reads a clock."""

import secrets
import time

from fedbus.wire.timestamps import format_timestamp


def monotonic() -> float:
    """Return seconds of the monotonic clock, whose zero is arbitrary."""
    return time.monotonic()


def utc() -> str:
    """Return the time of the wall clock as a timestamp; it may jump in either direction."""
    return format_timestamp(time.time())


def incarnation() -> int:
    """Return a number that differs at every start: milliseconds of the wall clock and random bits.

    A larger number is only a hint of a later start, as clocks may be wrong.
    """
    return (int(time.time() * 1000) << 10 | secrets.randbelow(1 << 10)) % 2**53
