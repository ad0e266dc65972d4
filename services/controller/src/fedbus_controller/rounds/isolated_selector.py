"""Isolation of third-party selectors, which may raise any exception or hang."""

import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random

from fedbus.errors import PluginError
from fedbus.plugins import AgentInfo, Selector
from fedbus.plugins.discovery import error_message
from fedbus_controller.rounds.selection import MAX_SELECTED_NAMES

SELECTOR_TIMEOUT_SECONDS = 5.0
"""Time limit of a selection. The controller waits for it, so it is shorter than the lease."""


class IsolatedSelector:
    """Calls a selector in a thread, with a time limit.

    A Python thread cannot be killed: the thread of a selector that never returns exists until the
    process ends; the job fails.
    """

    def __init__(
        self, name: str, selector: Selector, seconds: float = SELECTOR_TIMEOUT_SECONDS
    ) -> None:
        self._name, self._selector, self._seconds = name, selector, seconds

    def __call__(self, agents: Sequence[AgentInfo], want: int, rng: Random, /) -> Sequence[str]:
        """Return the names that the selector returns.

        Raises:
            PluginError: the selector raised, called exit, or exceeded the time limit.
        """
        chosen: list[Sequence[str]] = []
        raised: list[BaseException] = []

        def work() -> None:
            try:
                chosen.append(_read(self._selector(agents, want, rng)))
            except BaseException as error:  # noqa: BLE001 - the thread runs only the plug-in
                raised.append(error)

        thread = threading.Thread(target=work, name=f"selector {self._name}", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if raised:
            raise PluginError(error_message(raised[0])) from raised[0]
        if not chosen:
            raise PluginError(f"it did not answer in {self._seconds:g} s")
        return chosen[0]


def _read(names: Sequence[str]) -> Sequence[str]:
    """Read a generator inside the thread: its code runs only while it is read."""
    return list(islice(names, MAX_SELECTED_NAMES)) if isinstance(names, Iterator) else names
