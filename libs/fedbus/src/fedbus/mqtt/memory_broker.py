"""A broker in memory: synchronous, deterministic, with the real access rules. Pure.

It does to packets what the real one does: matches topics, keeps retained messages, sends last
wills, shares subscriptions among a group, and drops without a word what the rules do not allow and
what is too large. Each such drop is recorded in `violations`, so that a test can assert that there
was none. For a session that asks for it, it keeps what was published with QoS 1 until that is
acknowledged. It knows no time: neither what is retained nor such a session expires.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import accumulate, takewhile

from fedbus.limits import MAX_MESSAGE_BYTES
from fedbus.mqtt.bus import Packet
from fedbus.wire import access_rules, topic_names, topics

Deliver = Callable[[str, Packet], None]
"""Called with the receiver's name and what it receives; when it arrives is the caller's part."""

_SHARE = "$share"
MOST_KEPT = 100
"""For one session, as Mosquitto is configured; what comes then is lost in silence."""


@dataclass(slots=True)
class _Session:
    will: Packet | None
    subscriptions: dict[str, str] = field(default_factory=dict)  # as named -> the filter


@dataclass(slots=True)
class _Keeping:
    """What is kept for a name, by receipt, whether or not it is connected."""

    patterns: list[str]
    packets: dict[int, Packet] = field(default_factory=dict)
    given: int = 0  # receipts


class MemoryBroker:
    """Sessions, retained messages, rules."""

    def __init__(self, deliver: Deliver, root: str = topics.ROOT) -> None:
        self.violations: list[tuple[str, access_rules.Access, str]] = []
        self._deliver = deliver
        self._root = root
        self._sessions: dict[str, _Session] = {}
        self._keeping: dict[str, _Keeping] = {}
        self._retained: dict[str, Packet] = {}
        self._turns: dict[str, int] = {}
        self._allowed: dict[tuple[str, access_rules.Access, str], bool] = {}
        self._routes: dict[str, tuple[list[str], dict[str, list[str]]]] = {}
        # Hundreds of agents follow topics of their own: followers are found by the beginning of
        # their filter, and a route is kept until a session starts or stops following its topic.
        self._followers: dict[str, dict[str, dict[str, int]]] = {}

    def connect(
        self,
        name: str,
        subscriptions: list[str],
        will: Packet | None = None,
        keep: list[str] | None = None,
    ) -> None:
        """Open a session; an older one of this name is closed, and its will is not sent.

        With `keep` it goes on where it was: what is not acknowledged comes again, and first, marked
        as redelivered if it was sent before.
        """
        if name in self._sessions:
            self._forget(name)
        self._sessions[name] = _Session(will)
        if not keep:
            self._keeping.pop(name, None)
        else:
            keeping = self._keeping.setdefault(name, _Keeping(keep))
            keeping.patterns = keep
            for receipt, packet in keeping.packets.items():
                keeping.packets[receipt] = replace(packet, redelivered=True)
                self._hand_over(name, packet)
            subscriptions = [*subscriptions, *keep]
        for topic in subscriptions:
            self.subscribe(name, topic)

    def disconnect(self, name: str, *, clean: bool = True) -> None:
        """Close a session; unless it is clean, its will is published."""
        session = self._sessions.get(name)
        if session is not None:
            self._forget(name)
            del self._sessions[name]
        if session is not None and session.will is not None and not clean:
            self.publish(name, replace(session.will, retain=True))

    def acknowledge(self, name: str, receipt: int) -> None:
        """Keep a packet no longer."""
        if name in self._keeping:
            self._keeping[name].packets.pop(receipt, None)

    def waiting(self, name: str) -> list[Packet]:
        """List what is kept for a name and not acknowledged, oldest first."""
        keeping = self._keeping.get(name)
        return [] if keeping is None else list(keeping.packets.values())

    def restart(self, *, saved: bool = False) -> None:
        """Lose everything and send no wills; if it was `saved`, what is retained and kept stays."""
        self._sessions.clear()
        if not saved:
            self._retained.clear()
            self._keeping.clear()
        self._routes.clear()
        self._followers.clear()

    def subscribe(self, name: str, topic: str) -> None:
        """Follow a topic; what is retained there is delivered now, but not to a share."""
        shared = topic.startswith(_SHARE + "/")
        pattern = topic.split("/", 2)[2] if shared else topic
        session = self._sessions[name]
        if topic not in session.subscriptions:
            session.subscriptions[topic] = pattern
            patterns = self._followers.setdefault(_beginning(pattern), {})
            names = patterns.setdefault(pattern, {})
            names[name] = names.get(name, 0) + 1  # alone, and in a share
            self._reroute(pattern)
        if not shared:
            for retained in list(self._retained.values()):
                if topic_names.matches(pattern, retained.topic):
                    self._hand_over(name, retained)

    def unsubscribe(self, name: str, topic: str) -> None:
        """No longer follow it."""
        pattern = self._sessions[name].subscriptions.pop(topic, None)
        if pattern is not None:
            self._unfollow(name, pattern)

    def publish(self, name: str, packet: Packet, qos: int = 0) -> None:
        """Deliver a packet to each follower of its topic once; keep it for sessions that ask."""
        if not self._may(name, "write", packet.topic):
            self.violations.append((name, "write", packet.topic))
            return
        if len(packet.payload) > MAX_MESSAGE_BYTES:
            size = f"{len(packet.payload)} bytes, at most {MAX_MESSAGE_BYTES}"
            self.violations.append((name, "write", f"{packet.topic}: {size}"))
            return
        if packet.retain:
            self._retained.pop(packet.topic, None)
            if packet.payload:
                self._retained[packet.topic] = packet
        plain, shares = self._route(packet.topic)
        live = replace(packet, retain=False) if packet.retain else packet
        kept = self._keep(live) if qos else ()
        for receiver in plain:
            if receiver not in kept:
                self._hand_over(receiver, live)
        for group, members in shares.items():
            turn = self._turns.get(group, 0)
            self._turns[group] = turn + 1
            self._hand_over(members[turn % len(members)], live)

    def _keep(self, packet: Packet) -> set[str]:
        """Keep a packet for the names that ask for it, and return them."""
        wanted = set()
        for name, keeping in self._keeping.items():
            if not any(topic_names.matches(pattern, packet.topic) for pattern in keeping.patterns):
                continue
            wanted.add(name)
            if len(keeping.packets) < MOST_KEPT and self._may(name, "read", packet.topic):
                keeping.given += 1
                kept = replace(packet, receipt=keeping.given)
                online = name in self._sessions
                keeping.packets[keeping.given] = replace(kept, redelivered=online)
                if online:
                    self._hand_over(name, kept)
        return wanted

    def _route(self, topic: str) -> tuple[list[str], dict[str, list[str]]]:
        if topic not in self._routes:
            plain: dict[str, None] = {}
            shares: dict[str, list[str]] = {}
            followers = self._following(topic)
            for name in filter(followers.__contains__, self._sessions):
                for named, pattern in self._sessions[name].subscriptions.items():
                    if topic_names.matches(pattern, topic):
                        if named.startswith(_SHARE + "/"):
                            shares.setdefault(named, []).append(name)
                        else:
                            plain[name] = None
            self._routes[topic] = list(plain), shares
        return self._routes[topic]

    def _following(self, topic: str) -> set[str]:
        names: set[str] = set()
        for beginning in ("", *accumulate(topic.split("/"), "{}/{}".format)):
            for pattern, followers in self._followers.get(beginning, {}).items():
                if topic_names.matches(pattern, topic):
                    names.update(followers)
        return names

    def _forget(self, name: str) -> None:
        for pattern in self._sessions[name].subscriptions.values():
            self._unfollow(name, pattern)

    def _unfollow(self, name: str, pattern: str) -> None:
        patterns = self._followers[_beginning(pattern)]
        patterns[pattern][name] -= 1
        if not patterns[pattern][name]:
            del patterns[pattern][name]
        if not patterns[pattern]:
            del patterns[pattern]
        self._reroute(pattern)

    def _reroute(self, pattern: str) -> None:
        if _beginning(pattern) == pattern:
            self._routes.pop(pattern, None)
        else:
            for topic in [known for known in self._routes if topic_names.matches(pattern, known)]:
                del self._routes[topic]

    def _hand_over(self, receiver: str, packet: Packet) -> None:
        if self._may(receiver, "read", packet.topic):
            self._deliver(receiver, packet)
        else:
            self.violations.append((receiver, "read", packet.topic))

    def _may(self, name: str, access: access_rules.Access, topic: str) -> bool:
        key = (name, access, topic)
        if key not in self._allowed:
            self._allowed[key] = access_rules.is_allowed(name, access, topic, self._root)
        return self._allowed[key]


def _beginning(pattern: str) -> str:
    """Take the levels before the first wildcard; all of them where there is none."""
    return "/".join(takewhile(lambda level: level not in {"+", "#"}, pattern.split("/")))
