"""Pace of a version's predictions, measured, and what follows from it. Pure.

A thread takes 50 to 100 microseconds to start a call, as long as a small model takes to answer.
So what will certainly be short is computed in the event loop, between two events.
"""

from typing import Final

BRIEF_SECONDS: Final = 0.003
"""Predicted time up to which a batch is computed in the event loop."""
MAX_BRIEF_BYTES: Final = 64 * 1024
"""Payload up to which a batch is computed in the event loop: parsing takes time as well."""
MIN_BRIEF_REQUESTS: Final = 8
"""A queue is computed in the event loop if it fits whole, or if at least this many of it do."""
SHORTEST_SECONDS: Final = 1e-6
"""No request takes less, whatever a clock says."""
LATEST_WEIGHT: Final = 0.15
"""Weight of the latest measurement in the running mean."""
MAX_SLOW_DOWN: Final = 4.0
"""How much one measurement counts at most, as a multiple of the mean: one that met a busy machine
must not send the next hundred requests to a thread."""


class PredictionPace:
    """Running mean of the seconds that a request takes in a batch; None until one was measured."""

    def __init__(self) -> None:
        self.seconds: float | None = None

    def measured(self, seconds: float, requests: int) -> None:
        """Add the time that a batch took."""
        each = seconds / requests
        if self.seconds is None:
            self.seconds = each
        else:
            each = min(each, MAX_SLOW_DOWN * self.seconds + BRIEF_SECONDS / MAX_SLOW_DOWN)
            self.seconds += LATEST_WEIGHT * (each - self.seconds)

    def brief_requests(self) -> int:
        """Return how many requests block the event loop only for a moment; 0 while not known."""
        if self.seconds is None:
            return 0
        return int(BRIEF_SECONDS / max(self.seconds, SHORTEST_SECONDS))

    def wait(self, requests: int) -> float:
        """Return the seconds until this many queued requests are answered; 1 while not known."""
        return 1.0 if self.seconds is None else requests * self.seconds
