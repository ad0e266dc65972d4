"""Log of requests without a usable response topic, limited in rate. Pure."""

from collections.abc import Iterator

from fedbus.core.actions import Note

LOG_EVERY_SECONDS = 60.0
MAX_NOTED_REQUESTS = 64
"""Different log lines a minute: clients choose their content and must not fill the log."""


class UnansweredLog:
    """The lines of the last minute, and the number of requests without a line."""

    def __init__(self) -> None:
        self._logged: dict[tuple[str, str], float] = {}
        self._suppressed = 0

    def note(self, model: str, reason: str, now: float) -> Iterator[Note]:
        """Log a request, once a minute for each model and reason."""
        self._logged = {k: at for k, at in self._logged.items() if now < at + LOG_EVERY_SECONDS}
        key = (model, reason)
        if key in self._logged or len(self._logged) >= MAX_NOTED_REQUESTS:
            self._suppressed += 1
            return
        self._logged[key] = now
        facts = {"model": model, "reason": reason, "more_since": self._suppressed}
        self._suppressed = 0
        yield Note("request_unanswerable", facts)
