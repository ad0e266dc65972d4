"""Nodes of a deployment: who is online, and what each agent can do."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fedbus.client.connection import ClientConnection
from fedbus.client.results import NodeStatus
from fedbus.errors import WireError
from fedbus.mqtt.bus import Packet
from fedbus.wire import codec
from fedbus.wire.documents import NodeIdentity, NodeState
from fedbus.wire.topics import NODE_IDENTITY, NODE_STATE

KEPT_SECONDS = float(NODE_STATE.expiry or 0)
LONG_AGO_SECONDS = 1800.0
"""A node that is online repeats its state every twelve heartbeats: each minute by default, 720 s at
most."""


async def nodes(connection: ClientConnection) -> tuple[NodeStatus, ...]:
    """Fetch what every node says of itself; what cannot be read is left out."""
    packets = await connection.retained(connection.login.topic(NODE_STATE, node="+"))
    return tuple(read_nodes(packets))


async def identities(connection: ClientConnection) -> dict[str, str]:
    """Fetch the identity keys that the broker retains of agents, by agent."""
    packets = await connection.retained(connection.login.topic(NODE_IDENTITY, node="+"))
    return read_identities(packets)


def read_identities(packets: Iterable[Packet]) -> dict[str, str]:
    """Read announced identities; leave out what is unreadable or says another node's name."""
    found = {}
    for packet in packets:
        try:
            announced = codec.from_json(NodeIdentity, packet.payload)
        except WireError:
            continue  # of another version of fedbus, perhaps
        if packet.topic.split("/")[-2] == announced.node:
            found[announced.node] = announced.key
    return dict(sorted(found.items()))


def read_nodes(packets: Iterable[Packet]) -> Sequence[NodeStatus]:
    """Read retained states of nodes, and the age of each by what is left of its expiry.

    So the broker's clock alone counts, and a device's may be wrong. A broker that shortens what it
    is asked to keep would make every node old; nodes that are online repeat themselves, which shows
    it.
    """
    found = []
    for packet in packets:
        try:
            state = codec.from_json(NodeState, packet.payload)
        except WireError:
            continue  # of another version of fedbus, perhaps
        left = packet.expiry
        found.append(NodeStatus(state, None if left is None else max(0.0, KEPT_SECONDS - left)))
    if any(each.online and (each.age_seconds or 0.0) > LONG_AGO_SECONDS for each in found):
        return [replace(each, age_seconds=None) for each in found]
    return found
