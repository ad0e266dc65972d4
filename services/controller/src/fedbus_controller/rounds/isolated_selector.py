"""Isolation of third-party selectors, which may raise any exception or hang."""

from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random

from fedbus.plugins import AgentInfo, Selector
from fedbus.plugins.isolation import call_isolated
from fedbus_controller.rounds.selection import MAX_SELECTED_NAMES

SELECTOR_TIMEOUT_SECONDS = 5.0
"""Time limit of a selection. The controller waits for it, so it is shorter than the lease."""


class IsolatedSelector:
    """Calls a selector in a thread, with a time limit."""

    def __init__(
        self, name: str, selector: Selector, seconds: float = SELECTOR_TIMEOUT_SECONDS
    ) -> None:
        self._name, self._selector, self._seconds = name, selector, seconds

    def __call__(self, agents: Sequence[AgentInfo], want: int, rng: Random, /) -> Sequence[str]:
        """Return the names that the selector returns, up to MAX_SELECTED_NAMES of a generator.

        Raises:
            PluginError: the selector raised, called exit, or exceeded the time limit.
        """

        def select() -> Sequence[str]:
            names = self._selector(agents, want, rng)
            # A generator is read in the thread: its code runs only while it is read.
            return list(islice(names, MAX_SELECTED_NAMES)) if isinstance(names, Iterator) else names

        return call_isolated(f"selector {self._name}", select, self._seconds)
