"""Identities of other agents: pinned in a file, or announced on the bus. Pure.

Who operates the broker can announce another key in an agent's name, and invent agents. So where
identities are pinned, no other ones count. Without, one that changes while this process runs is not
taken.
"""

import re
from collections.abc import Mapping
from typing import Final

from fedbus.errors import MaskingError, SettingsError
from fedbus.limits import MAX_COHORT_AGENTS
from fedbus.wire.identifiers import is_node

_KEY: Final = re.compile(r"[0-9a-f]{64}")


class KnownIdentities:
    """The public identity keys of agents, 64 hexadecimal digits each.

    Args:
        pinned: Those that the operator of this node has fixed; no other agent is then known. None:
            announcements count.
    """

    def __init__(self, pinned: Mapping[str, str] | None = None) -> None:
        self._pinned = None if pinned is None else dict(pinned)
        self._announced: dict[str, str] = {}
        self._changed: set[str] = set()

    def announce(self, agent: str, key: str) -> None:
        """Take what an agent announced; the first announcement counts, and a change is noted."""
        if self._pinned is not None:
            return
        known = self._announced.get(agent)
        if known is None and len(self._announced) < MAX_COHORT_AGENTS:
            self._announced[agent] = key
        elif known != key:
            self._changed.add(agent)

    def knows(self, agent: str) -> bool:
        """Return whether there is no need to wait for an announcement of this agent."""
        return self._pinned is not None or agent in self._announced

    def of(self, agent: str) -> str:
        """Return an agent's key.

        Raises:
            MaskingError: It is not known, or it has changed.
        """
        if self._pinned is not None:
            if agent not in self._pinned:
                raise MaskingError(
                    f"{agent} is not in the file of pinned identities (FEDBUS_PINNED_IDENTITIES), "
                    "and no other agent counts where identities are pinned"
                )
            return self._pinned[agent]
        if agent in self._changed:
            raise MaskingError(
                f"the identity of {agent} has changed since this node started: pin it if the "
                "change is right, or restart this node"
            )
        if agent not in self._announced:
            raise MaskingError(f"the identity of {agent} is not known: it has announced none")
        return self._announced[agent]


def read_pinned_identities(text: str) -> dict[str, str]:
    """Return the keys of a file of pinned identities: a line `agent.NAME KEY` for each agent.

    Empty lines and lines that begin with `#` are skipped.

    Raises:
        SettingsError: A line has another form, or an agent has two.
    """
    pinned: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match line.split():
            case []:
                continue
            case [word, *_] if word.startswith("#"):
                continue
            case [agent, key] if is_node(agent) and _KEY.fullmatch(key.lower()):
                if agent in pinned:
                    raise SettingsError(f"pinned identities, line {number}: {agent} again")
                pinned[agent] = key.lower()
            case _:
                raise SettingsError(
                    f"pinned identities, line {number}: expected `agent.NAME KEY` with a key of 64 "
                    "hexadecimal digits: the first word of identity.public in the agent's folder"
                )
    return pinned
