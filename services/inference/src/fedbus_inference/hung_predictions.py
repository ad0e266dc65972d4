"""Predictions that were given up while they hang: each keeps a thread, up to a bound. Pure."""

from collections.abc import Iterator
from typing import Final

from fedbus.core.actions import Note

MAX_HUNG: Final = 16
"""Threads that a process leaves to predictions that hang; nothing but a restart ends those."""


class HungPredictions:
    """Batches that were given up and have not ended, by their numbers."""

    def __init__(self) -> None:
        self._numbers: set[int] = set()
        self._logged: set[int] = set()

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def problem(self) -> str:
        """Return why no further prediction is given up; empty while one can be."""
        if len(self) < MAX_HUNG:
            return ""
        return f"{len(self)} predictions hang in this process; restart the inference service"

    def give_up(self, number: int, model: str, version: int) -> Iterator[Note]:
        """Count a batch as given up, and log it."""
        self._numbers.add(number)
        facts = {"model": model, "version": version, "hung": len(self)}
        yield Note("prediction_given_up", facts)

    def keep(self, number: int, model: str, version: int) -> Iterator[Note]:
        """Log once that a batch which hangs is not given up: there are too many."""
        if number not in self._logged:
            self._logged.add(number)
            facts = {"model": model, "version": version, "reason": self.problem}
            yield Note("prediction_not_given_up", facts)

    def ended(self, number: int) -> None:
        """Count the thread of a batch as free again, if the batch was given up."""
        self._numbers.discard(number)
        self._logged.discard(number)
