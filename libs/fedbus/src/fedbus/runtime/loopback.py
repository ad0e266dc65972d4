"""Whether a broker delivers what a node says. Pure.

A broker with access rules drops what a login may not publish or read, and a publication with QoS 0
gets no answer: the node would seem to be connected while nobody hears it. Every node may write and
read `link/X/X/#`, so it says a word to itself there, and misses it if it does not come back.
"""

from fedbus.mqtt.bus import Packet

ANSWER_SECONDS = 5.0
"""How long a word may take; chunks of a model can stand in its way."""
MISSES = 2
"""In a row, until a node counts as unheard: a broker under load drops packets."""
AGAIN_SECONDS = 60.0
"""Rules can change while a node runs."""


class LoopbackProbe:
    """Words of one node to itself.

    Args:
        node: Its name.
        root: The topic everything lives under.
        incarnation: Tells this process from another one with the same name.
        login: Whom the broker takes us for, as a person should read it.
    """

    def __init__(self, node: str, root: str, incarnation: int, login: str | None) -> None:
        self.unheard = False
        self._node = node
        self._tree = f"{root}/link/{node}"
        self._topic = f"{self._tree}/{node}/echo"
        self._root = root
        self._word = f"{incarnation}".encode()
        self._login = login
        self._missed = 0

    def word(self) -> Packet:
        """What to say now."""
        return Packet(self._topic, self._word)

    def is_echo(self, packet: Packet) -> bool:
        """Tell whether a packet is such a word, of ours or of another process with this name."""
        return packet.topic == self._topic

    def is_ours(self, packet: Packet) -> bool:
        """Tell whether an echo is our own."""
        return bytes(packet.payload) == self._word

    def heard(self) -> bool:
        """Our word came back; tells whether it had been missed."""
        was, self.unheard, self._missed = self.unheard, False, 0
        return was

    def missed(self) -> bool:
        """Our word did not come back in time; tells whether this is now to be said in the log."""
        self._missed += 1
        self.unheard = self._missed >= MISSES
        return self.unheard

    @property
    def pause(self) -> float:
        """How long to wait until the next word: not at all for the second try."""
        return 0.0 if self._missed and not self.unheard else AGAIN_SECONDS

    def sentence(self) -> str:
        """Say what is wrong, and what to look at."""
        login = self._login or "nobody (no user name was given)"
        if self._login is not None and self._login != self._node:
            more = f"Where its rules go by login, this node must log in as {self._node}"
        else:
            more = "mosquitto/README.md says how the rules are written"
        return (
            f"nobody hears this node: the broker takes what {self._node} says and does not deliver "
            f"it. Do its access rules let the login {login} write {self._tree}/# and read "
            f"{self._root}/link/+/{self._node}/#? {more}"
        )
