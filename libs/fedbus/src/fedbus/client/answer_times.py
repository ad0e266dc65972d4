"""Times in which a service answers, and when a request that has no answer is sent again. Pure.

Replicas of a service share its requests, and a broker gives a request to one of them whether that
one answers or not. So a request is repeated soon: after three times what nearly all answers take.
Only answers to requests that were sent once are measured (P. Karn and C. Partridge, "Improving
Round-Trip Time Estimates in Reliable Transport Protocols", 1987): of a repeated one it is not known
which of the two was answered, and a hung replica would make all later repetitions wait.
"""

from collections import deque
from typing import Final

MIN_REPEAT_SECONDS: Final = 0.25
MAX_REPEAT_SECONDS: Final = 2.0
FIRST_REPEAT_SECONDS: Final = 1.0
"""Used until enough answers are measured: the first ones may wait for a model to load."""
MIN_MEASURED: Final = 5
MAX_MEASURED: Final = 128
STEADY_ATTEMPTS: Final = 8
"""Repetitions at the same interval: of two replicas one hangs, so each has half a chance."""
MARGIN: Final = 3.0
QUANTILE: Final = 0.99


class AnswerTimes:
    """The last measured times, in seconds."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=MAX_MEASURED)

    def measured(self, seconds: float) -> None:
        """Add the time of an answer to a request that was sent once."""
        self._seconds.append(seconds)

    def repeat_after(self, attempt: int) -> float:
        """Return the seconds after which to send again what was sent `attempt` times before."""
        first: float = FIRST_REPEAT_SECONDS
        if len(self._seconds) >= MIN_MEASURED:
            slow = sorted(self._seconds)[int(QUANTILE * (len(self._seconds) - 1) + 0.5)]
            first = max(MARGIN * slow, MIN_REPEAT_SECONDS)
        doublings = max(attempt - STEADY_ATTEMPTS + 1, 0)
        return min(first * 2.0**doublings, MAX_REPEAT_SECONDS)
