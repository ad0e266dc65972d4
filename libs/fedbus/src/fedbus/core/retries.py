"""Asks: messages repeated until they are answered or cancelled. Pure.

The bus may lose, repeat and delay a message, so an ask is repeated after 1, 2, 4 … 15 seconds, with
jitter so that the nodes of a fleet do not ask at the same time. A receiver handles a repeated
message as it handled the first.
"""

from dataclasses import dataclass
from random import Random

from fedbus.core.keys import Key
from fedbus.core.timers import Timers

FIRST_SECONDS = 1.0
LONGEST_ASK_SECONDS = 15.0


@dataclass(slots=True)
class _PendingAsk:
    topic: str
    payload: bytes
    pause: float


class Retries:
    """All pending asks of a node."""

    def __init__(self, rng: Random) -> None:
        self._asked: dict[Key, _PendingAsk] = {}
        self._timers = Timers[Key]()
        self._rng = rng

    def __contains__(self, key: Key) -> bool:
        return key in self._asked

    def start(self, key: Key, topic: str, payload: bytes, now: float) -> None:
        """Start an ask, whose first message the caller publishes; the same key replaces."""
        self._asked[key] = _PendingAsk(topic, payload, FIRST_SECONDS)
        self._timers.set(key, now + self._jittered(FIRST_SECONDS))

    def cancel(self, key: Key) -> None:
        """End an ask, if there is one."""
        if self._asked.pop(key, None):
            self._timers.cancel(key)

    def due(self, now: float) -> list[tuple[str, bytes]]:
        """Return what to publish again now, as (topic, payload)."""
        again = []
        for key in self._timers.due(now):
            asked = self._asked[key]
            asked.pause = min(asked.pause * 2, LONGEST_ASK_SECONDS)
            self._timers.set(key, now + self._jittered(asked.pause))
            again.append((asked.topic, asked.payload))
        return again

    def reconnected(self, now: float) -> list[tuple[str, bytes]]:
        """Return all asks, to publish them again, and restart their pauses."""
        for key, asked in self._asked.items():
            asked.pause = FIRST_SECONDS
            self._timers.set(key, now + self._jittered(FIRST_SECONDS))
        return [(asked.topic, asked.payload) for asked in self._asked.values()]

    def next(self) -> float | None:
        """Return when to call `due`; None: no ask is pending."""
        return self._timers.next()

    def _jittered(self, pause: float) -> float:
        return pause * self._rng.uniform(0.8, 1.2)
