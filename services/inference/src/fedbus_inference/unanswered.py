"""Requests that cannot be answered: a line in the log, but not one for each. Pure."""

from collections.abc import Iterator

from fedbus.core.actions import Note

EVERY_SECONDS = 60.0
MAX_NOTED_REQUESTS = 64
"""Different lines a minute; what its clients choose must not fill a log."""


class Unanswered:
    """What was said of late, and how much was not."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], float] = {}
        self._silent = 0

    def note(self, model: str, reason: str, now: float) -> Iterator[Note]:
        """Say it, once a minute for each model and reason."""
        self._said = {key: at for key, at in self._said.items() if now < at + EVERY_SECONDS}
        key = (model, reason)
        if key in self._said or len(self._said) >= MAX_NOTED_REQUESTS:
            self._silent += 1
            return
        self._said[key] = now
        facts = {"model": model, "reason": reason, "more_since": self._silent}
        self._silent = 0
        yield Note("request_unanswerable", facts)
