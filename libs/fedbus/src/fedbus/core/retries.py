"""A request repeated until it is answered or cancelled. Pure.

The bus may lose, repeat and delay, so whatever must arrive is asked again at 1, 2, 4 … 15 seconds,
with jitter so that a fleet does not ask in step. Receivers make repetition harmless.
"""

from dataclasses import dataclass
from random import Random

from fedbus.core.keys import Key
from fedbus.core.timers import Timers

FIRST_SECONDS = 1.0
LONGEST_ASK_SECONDS = 15.0


@dataclass(slots=True)
class _Asked:
    topic: str
    payload: bytes
    pause: float


class Retries:
    """All that a node is asking."""

    def __init__(self, rng: Random) -> None:
        self._asked: dict[Key, _Asked] = {}
        self._timers = Timers[Key]()
        self._rng = rng

    def __contains__(self, key: Key) -> bool:
        return key in self._asked

    def start(self, key: Key, topic: str, payload: bytes, now: float) -> None:
        """Begin to ask; the caller publishes the first time. The same key replaces."""
        self._asked[key] = _Asked(topic, payload, FIRST_SECONDS)
        self._timers.set(key, now + self._jittered(FIRST_SECONDS))

    def cancel(self, key: Key) -> None:
        """Stop asking: it was answered, or it no longer matters."""
        if self._asked.pop(key, None):
            self._timers.cancel(key)

    def due(self, now: float) -> list[tuple[str, bytes]]:
        """What to publish again now, as (topic, payload)."""
        again = []
        for key in self._timers.due(now):
            asked = self._asked[key]
            asked.pause = min(asked.pause * 2, LONGEST_ASK_SECONDS)
            self._timers.set(key, now + self._jittered(asked.pause))
            again.append((asked.topic, asked.payload))
        return again

    def reconnected(self, now: float) -> list[tuple[str, bytes]]:
        """Everything, from its first pause again: what was said before may be lost."""
        for key, asked in self._asked.items():
            asked.pause = FIRST_SECONDS
            self._timers.set(key, now + self._jittered(FIRST_SECONDS))
        return [(asked.topic, asked.payload) for asked in self._asked.values()]

    def next(self) -> float | None:
        """When `due` has something next."""
        return self._timers.next()

    def _jittered(self, pause: float) -> float:
        return pause * self._rng.uniform(0.8, 1.2)
