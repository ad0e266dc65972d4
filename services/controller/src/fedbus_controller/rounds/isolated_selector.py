"""A selector in a thread of its own, so that one that hangs cannot stop the controller."""

import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random

from fedbus.errors import PluginError
from fedbus.plugins import AgentInfo, Selector
from fedbus.plugins.discovery import error_message
from fedbus_controller.rounds.selection import MAX_SELECTED_NAMES

SELECTOR_SECONDS = 5.0
"""The controller waits so long for a choice, and does nothing else meanwhile; its lease lasts
longer."""


class IsolatedSelector:
    """Calls a selector and waits for its choice, for a while.

    A thread of Python cannot be killed: one whose selector never returns stays until the process
    ends, and the job that wanted it has failed by then.
    """

    def __init__(self, name: str, selector: Selector, seconds: float = SELECTOR_SECONDS) -> None:
        self._name, self._selector, self._seconds = name, selector, seconds

    def __call__(self, agents: Sequence[AgentInfo], want: int, rng: Random, /) -> Sequence[str]:
        """Choose.

        Raises:
            PluginError: it raised, wanted to exit, or did not answer in time.
        """
        chosen: list[Sequence[str]] = []
        raised: list[BaseException] = []

        def work() -> None:
            try:
                chosen.append(_read(self._selector(agents, want, rng)))
            except BaseException as error:  # noqa: BLE001 - in this thread all of it is the plug-in's
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
    """Read a generator here: it works only while it is read, and may never end."""
    return list(islice(names, MAX_SELECTED_NAMES)) if isinstance(names, Iterator) else names
