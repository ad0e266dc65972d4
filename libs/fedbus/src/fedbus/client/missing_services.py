"""Services that a watched job waits for: the broker, a controller, a repository. Pure."""

from collections.abc import Iterable
from contextlib import suppress

from fedbus.errors import WireError
from fedbus.mqtt.bus import Packet
from fedbus.wire import codec
from fedbus.wire.documents import NodeState
from fedbus.wire.identifiers import role_of

NEEDED = ("controller", "repository", "collector")
"""Roles of which one node must be online for a job to continue."""


class MissingServices:
    """Services that are offline, by the states that nodes publish."""

    def __init__(self) -> None:
        self._broker = ""
        self._online: dict[str, bool] = {}

    def lost(self, why: str) -> None:
        """Note that the connection to the broker is lost, and why."""
        self._broker = why

    def connected(self) -> None:
        """Forget all nodes: the broker repeats their states on a new connection."""
        self._broker = ""
        self._online.clear()

    def hear(self, node: NodeState) -> None:
        """Note whether a node is online."""
        self._online[node.node] = node.online

    @property
    def line(self) -> str:
        """The services that are missing, as a sentence; empty where none is."""
        if self._broker:
            return f"the broker: {self._broker}"
        missing = [self._missing(role) for role in NEEDED if not self._is_there(role)]
        return "; ".join(missing)

    def _is_there(self, role: str) -> bool:
        return any(online for node, online in self._online.items() if role_of(node) == role)

    def _missing(self, role: str) -> str:
        names = sorted(node for node in self._online if role_of(node) == role)
        if not names:
            return f"a {role}: none has ever been online"
        return f"a {role}: {', '.join(names)} {'is' if len(names) == 1 else 'are'} offline"


def describe_missing(packets: Iterable[Packet]) -> str:
    """Name what is missing for a decision about jobs, by the states of nodes."""
    online: dict[str, list[str]] = {"controller": [], "repository": []}
    for packet in packets:
        with suppress(WireError):
            state = codec.from_json(NodeState, packet.payload)
            if state.online and role_of(state.node) in online:
                online[role_of(state.node)].append(state.node)
    if not online["controller"]:
        return "none is online"
    if not online["repository"]:
        return f"{online['controller'][0]} is online, but no repository, without which none decides"
    return f"{', '.join(online['controller'])} is online and has not decided yet"
