"""Times for people: how long ago, and when."""

import time

from fedbus.wire.moments import seconds_of

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def age(moment: str | None, now: float | None = None) -> str:
    """Say how long ago something was: `3 min`; nothing where it is not known.

    The clocks of two machines differ: what seems to lie ahead is of now.
    """
    if moment is None:
        return ""
    seconds = max(0.0, (time.time() if now is None else now) - seconds_of(moment))
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "0 s"


def when(moment: str | None) -> str:
    """Write a moment as people read it: `2026-11-29 08:53:28 UTC`."""
    return "an unknown time" if moment is None else f"{moment[:19].replace('T', ' ')} UTC"
