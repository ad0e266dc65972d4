"""Identity of a node: its name, its incarnation, its root topic and its limits. Pure."""

from dataclasses import dataclass

from fedbus.mqtt.bus import Packet
from fedbus.runtime.heartbeat import HEARTBEAT_SECONDS
from fedbus.wire import codec, topic_names, topics


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Identity of a node.

    Attributes:
        incarnation: Distinguishes this process from all others of the same name.
        root: Topic that all topics are below.
        open_profile: Whether replies to foreign clients may go to topics outside `root`.
        in_flight: Bytes that transfers may have in transit.
        heartbeat_seconds: Time between two heartbeats.
    """

    name: str
    incarnation: int
    version: str = ""
    root: str = topics.ROOT
    open_profile: bool = False
    in_flight: int = 64 * 2**20
    heartbeat_seconds: float = HEARTBEAT_SECONDS

    def packet_to(self, receiver: str, message: object) -> Packet:
        """Format a message to another node."""
        topic = topic_names.link_topic(self.root, self.name, receiver, type(message))
        return Packet(topic, codec.pack(message))
