"""Formats of times: the age of a moment, and the moment itself."""

import time

from fedbus.cli.output import display
from fedbus.wire.timestamps import parse_timestamp


def format_age(moment: str | None, now: float | None = None) -> str:
    """Format the age of a timestamp: `3min`; empty for None.

    Clocks of two machines differ, so a timestamp in the future has age 0.
    """
    if moment is None:
        return ""
    return display.format_duration((time.time() if now is None else now) - parse_timestamp(moment))


def format_time(moment: str | None) -> str:
    """Format a timestamp: `2026-11-29 08:53:28 UTC`."""
    return "an unknown time" if moment is None else f"{moment[:19].replace('T', ' ')} UTC"
