"""When a process that died is started again. Pure."""

from dataclasses import dataclass

FIRST_PAUSE_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 15.0
STEADY_SECONDS = 20.0


@dataclass(slots=True)
class RestartBackoff:
    """Longer and longer pauses, until a life was long enough to forget the deaths before it."""

    started_at: float = 0.0
    failures: int = 0

    def started(self, now: float) -> None:
        """Note that a life begins."""
        self.started_at = now

    def died(self, now: float) -> float:
        """Note that it ended; returns the seconds to wait before the next."""
        if now - self.started_at >= STEADY_SECONDS:
            self.failures = 0
        self.failures += 1
        # The exponent is bounded: a service that cannot live may die for weeks.
        pause = FIRST_PAUSE_SECONDS * 2.0 ** min(self.failures - 1, 16)
        return min(pause, LONGEST_RESTART_SECONDS)
