"""Exponential backoff of restarts. Pure."""

from dataclasses import dataclass

FIRST_PAUSE_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 15.0
STEADY_SECONDS = 20.0


@dataclass(slots=True)
class RestartBackoff:
    """Pauses that double with each exit, until a process has run for `STEADY_SECONDS`."""

    started_at: float = 0.0
    failures: int = 0

    def started(self, now: float) -> None:
        """Note the time of a start."""
        self.started_at = now

    def exited(self, now: float) -> float:
        """Note an exit; return the seconds until the restart."""
        if now - self.started_at >= STEADY_SECONDS:
            self.failures = 0
        self.failures += 1
        # Bounded exponent: a service that cannot start may fail for weeks.
        pause = FIRST_PAUSE_SECONDS * 2.0 ** min(self.failures - 1, 16)
        return min(pause, LONGEST_RESTART_SECONDS)
