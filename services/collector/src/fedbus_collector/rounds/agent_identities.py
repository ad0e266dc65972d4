"""Identities of agents at a collector: the first that each has announced since it started. Pure.

Neighbours check each other's signatures themselves, and do not trust this collector. It checks them
as well, so that one agent with a wrong signature leaves the round by name; else all its neighbours
would refuse to go on, and the round would fail.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from fedbus.core.actions import Action, Follow, Unfollow
from fedbus.limits import MAX_COHORT_AGENTS
from fedbus.wire import topics

MOST_IDENTITIES: Final = 2 * MAX_COHORT_AGENTS
"""Identities in memory; the oldest are forgotten, and followed again when they are needed."""


class AgentIdentities:
    """The public identity keys that agents have announced, 64 hexadecimal digits each."""

    def __init__(self, most: int = MOST_IDENTITIES) -> None:
        self._most = most
        self._keys: dict[str, str] = {}
        self._followed: Counter[str] = Counter()  # how many rounds wait for an agent

    def follow(self, agent: str) -> Iterator[Action]:
        """Have one more round wait for an agent's identity."""
        self._followed[agent] += 1
        yield Follow(topics.NODE_IDENTITY, {"node": agent})

    def follow_again(self, agent: str) -> Iterator[Action]:
        """Have the broker send an agent's identity once more: what is retained may be lost."""
        yield Follow(topics.NODE_IDENTITY, {"node": agent})

    def unfollow(self, agent: str) -> Iterator[Action]:
        """Have one round less wait for it."""
        self._followed[agent] -= 1
        if not self._followed[agent]:
            del self._followed[agent]
            yield Unfollow(topics.NODE_IDENTITY, {"node": agent})

    def announce(self, agent: str, key: str) -> None:
        """Keep the first key of an agent: neighbours refuse one that changes while they run."""
        self._keys.setdefault(agent, key)
        while len(self._keys) > self._most:
            del self._keys[next(iter(self._keys))]

    def of(self, agent: str) -> str | None:
        """Return an agent's key; None: it has announced none that this collector has received."""
        return self._keys.get(agent)
