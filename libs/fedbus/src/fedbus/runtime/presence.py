"""Presence of a node: its published state, its heartbeats, conflicts over its name. Pure."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from fedbus.core.actions import (
    Announce,
    AnnounceEncryptionKey,
    AnnounceNoiseKey,
    Introduce,
    Note,
    Trouble,
)
from fedbus.core.interface import Core
from fedbus.mqtt.bus import Packet
from fedbus.runtime.effects import Publish
from fedbus.runtime.identity import Identity
from fedbus.runtime.name_conflict import SETTLED_SECONDS, NameConflict
from fedbus.runtime.public_topics import packet_of
from fedbus.wire import codec, topic_names, topics
from fedbus.wire.documents import Heartbeat, NodeState

HEARTBEATS_PER_STATE = 12
"""The state is published again after this many heartbeats, in case the controller missed it."""

Vitals: TypeAlias = Callable[[], tuple[float, float]]
"""Measures (load per core, resident memory in MiB) of this process."""


class Presence:
    """State and heartbeats of a node.

    Attributes:
        trouble: What prevents the node's work; empty: nothing.
        noise_key: The digest of the key that the node draws noise with; None: it has none.
        encryption_key: The id of the node's key for homomorphic encryption; None: it has none.
        conflict: Evidence of another process with this node's name.
    """

    def __init__(self, identity: Identity, core: Core, vitals: Vitals) -> None:
        self.trouble = ""
        self.noise_key: str | None = None
        self.encryption_key: str | None = None
        self.conflict = NameConflict(identity.name, identity.incarnation)
        self._identity = identity
        self._core = core
        self._vitals = vitals
        self._heartbeats = 0
        self._connected_at = 0.0
        self._lacks: tuple[str, ...] = ()

    def connected(self, now: float, lacks: tuple[str, ...]) -> Publish:
        """Record a new connection, and the features that its broker lacks; publish the state."""
        self._connected_at = now
        self._lacks = lacks
        return self.publish_state()

    def perform(
        self, action: Introduce | Trouble | AnnounceNoiseKey | AnnounceEncryptionKey
    ) -> Iterator[Publish]:
        """Publish the state after a change; a key that is announced already changes nothing."""
        match action:
            case Trouble(sentence):
                self.trouble = sentence
            case AnnounceNoiseKey(digest):
                if digest == self.noise_key:
                    return
                self.noise_key = digest
            case AnnounceEncryptionKey(key):
                if key == self.encryption_key:
                    return
                self.encryption_key = key
            case _:
                pass
        yield self.publish_state()

    def publish_state(self) -> Publish:
        """Publish the node's state."""
        self.conflict.state_published()
        return Publish(self.state_packet(online=True))

    def state_packet(self, *, online: bool) -> Packet:
        """Format the node's state, or its last state (also its last will) if it is not `online`."""
        state = NodeState(
            node=self._identity.name,
            incarnation=self._identity.incarnation,
            online=online,
            version=self._identity.version,
            agent=self._core.facts() if online else None,
            noise_key=self.noise_key if online else None,
            encryption_key=self.encryption_key if online else None,
            trouble="; ".join(filter(None, (self.trouble, self.conflict.trouble, *self._lacks))),
        )
        return packet_of(Announce(topics.NODE_STATE, state), self._identity.root)

    def heartbeat(self, now: float) -> Iterator[Publish]:
        """Publish a heartbeat, and the state from time to time."""
        load, memory = self._vitals()
        heartbeat = Heartbeat(
            incarnation=self._identity.incarnation,
            load=load,
            memory_mb=memory,
            progress=self._core.progress(),
        )
        root, name = self._identity.root, self._identity.name
        topic = topic_names.address(root, topics.HEARTBEAT, node=name)
        yield Publish(Packet(topic, codec.pack(heartbeat)))
        self._heartbeats += 1
        if self.conflict.count and now - self._connected_at > SETTLED_SECONDS:
            self.conflict.resolved()
            yield self.publish_state()
        elif self._heartbeats % HEARTBEATS_PER_STATE == 0:
            yield self.publish_state()

    def own_state_received(self, state: NodeState) -> Iterator[Note | Publish]:
        """Compare a state received under this node's name with the node's own."""
        if self.conflict.state_received(state):
            facts = {"other": state.incarnation, "reason": self.conflict.trouble}
            yield Note("name_used_twice", facts)
            if self.conflict.count == 1:  # the other process, and its operator, read the reason
                yield self.publish_state()
