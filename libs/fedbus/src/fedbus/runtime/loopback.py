"""Test of whether a broker delivers a node's messages: a probe that the node sends to itself. Pure.

A broker with access rules drops what a login may not publish or read, and a publication with QoS 0
gets no answer: the node would seem to be connected while no other node receives its messages. Every
node may write and read `link/X/X/#`, so it sends a probe to itself there and waits for it.
"""

from fedbus.mqtt.bus import Packet

ANSWER_SECONDS = 5.0
"""Time a probe may take; chunks of a model may be queued before it."""
MAX_MISSED_PROBES = 2
"""Missed in a row until a node counts as unheard: a broker under load drops packets."""
PROBE_INTERVAL_SECONDS = 60.0
"""Access rules can change while a node runs."""


class LoopbackProbe:
    """Probes of one node to itself.

    Args:
        node: Name of the node.
        root: Topic that all topics are below.
        incarnation: Distinguishes this process from another one with the same name.
        login: The user name at the broker; None: none was given.

    Attributes:
        unheard: Whether the broker does not deliver the node's messages.
    """

    def __init__(self, node: str, root: str, incarnation: int, login: str | None) -> None:
        self.unheard = False
        self._node = node
        self._tree = f"{root}/link/{node}"
        self._topic = f"{self._tree}/{node}/echo"
        self._root = root
        self._payload = f"{incarnation}".encode()
        self._login = login
        self._missed = 0

    def packet(self) -> Packet:
        """Return the probe to send."""
        return Packet(self._topic, self._payload)

    def is_probe(self, packet: Packet) -> bool:
        """Return whether a packet is a probe of a process with this node's name."""
        return packet.topic == self._topic

    def is_own(self, packet: Packet) -> bool:
        """Return whether a probe is one of this process."""
        return bytes(packet.payload) == self._payload

    def received(self) -> bool:
        """Record that a probe came back; return whether the node was unheard before."""
        was, self.unheard, self._missed = self.unheard, False, 0
        return was

    def missed(self) -> bool:
        """Record that a probe did not come back in time; return whether the node is unheard."""
        self._missed += 1
        self.unheard = self._missed >= MAX_MISSED_PROBES
        return self.unheard

    @property
    def pause(self) -> float:
        """Seconds to wait before the next probe; 0 after a first missed one."""
        return 0.0 if self._missed and not self.unheard else PROBE_INTERVAL_SECONDS

    def sentence(self) -> str:
        """Format what is wrong, and what to check."""
        login = self._login or "(no user name was given)"
        if self._login is not None and self._login != self._node:
            more = f"If its access rules go by login, this node must log in as {self._node}"
        else:
            more = "mosquitto/README.md describes how the rules are written"
        return (
            f"the broker does not deliver: {self._node} publishes, and its messages do not arrive; "
            f"check that the access rules allow the login {login} to write {self._tree}/# and to "
            f"read {self._root}/link/+/{self._node}/#. {more}"
        )
