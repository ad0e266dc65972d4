"""Log of requests that have no answer, limited in rate. Pure."""

from collections.abc import Iterator

from fedbus.core.actions import Note

LOG_EVERY_SECONDS = 60.0
MAX_NOTED_REQUESTS = 64
"""Different log lines a minute: clients choose their content and must not fill the log."""


class UnansweredLog:
    """The lines of the last minute, and the number of requests without a line."""

    def __init__(self) -> None:
        self._logged: dict[tuple[str, str, str], float] = {}
        self._suppressed = 0

    def note(self, event: str, model: str, reason: str, now: float, **facts: str) -> Iterator[Note]:
        """Log a request, once a minute for each event, model and reason."""
        key = (event, model, reason)
        at = self._logged.get(key)
        if at is not None and now < at + LOG_EVERY_SECONDS:
            self._suppressed += 1
            return
        self._logged = {k: at for k, at in self._logged.items() if now < at + LOG_EVERY_SECONDS}
        if len(self._logged) >= MAX_NOTED_REQUESTS:
            self._suppressed += 1
            return
        self._logged[key] = now
        noted = {"model": model, "reason": reason, "more_since": self._suppressed} | facts
        self._suppressed = 0
        yield Note(event, noted)
