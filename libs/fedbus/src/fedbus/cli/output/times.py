"""Times for people: how long ago, and when."""

import time

from fedbus.cli.output import display
from fedbus.wire.timestamps import parse_timestamp


def age(moment: str | None, now: float | None = None) -> str:
    """Say how long ago something was: `3min`; nothing where it is not known.

    The clocks of two machines differ: what seems to lie ahead is of now.
    """
    if moment is None:
        return ""
    return display.age((time.time() if now is None else now) - parse_timestamp(moment))


def when(moment: str | None) -> str:
    """Write a moment as people read it: `2026-11-29 08:53:28 UTC`."""
    return "an unknown time" if moment is None else f"{moment[:19].replace('T', ' ')} UTC"
