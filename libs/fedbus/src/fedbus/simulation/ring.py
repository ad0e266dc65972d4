"""Hosts, their broker and their clock, all in one process and one thread.

A host runs a real core in a real `Node`. The ring performs the effects that `shell.py` performs
on a real broker: packets go through an in-memory broker that keeps the access rules, threads become
calls at a later time, and time is whatever the next event says. One seed gives one run.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random
from typing import Any

from fedbus.blobs.transfer.uploads import FindBlob
from fedbus.core.actions import Note
from fedbus.core.interface import Core
from fedbus.errors import FedbusError
from fedbus.mqtt.bus import Packet
from fedbus.mqtt.memory_broker import MemoryBroker
from fedbus.runtime.effects import (
    Acknowledge,
    Misread,
    Publish,
    PublishChunk,
    StartRun,
    Subscribe,
    Unsubscribe,
)
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.simulation.network_faults import NONE, Faults, Toll

WORK_SECONDS = {"TrainingWork": 0.4, "EvaluationWork": 0.1}
"""How long a thread works, by the name of its key; all else is quick."""
QUICK_SECONDS = 0.005
RECONNECT_SECONDS = 1.0
MOST_STEPS = 2_000_000


class RingError(FedbusError):
    """The ring did not come where it should; the sentence names the seed to replay."""


@dataclass(frozen=True, slots=True)
class Life:
    """One life of a service: its core, the blobs it always serves, how its store is let go."""

    core: Core
    find_blob: FindBlob | None = None
    close: Callable[[], None] = lambda: None


Birth = Callable[[Identity], Life]
"""Starts a service: what it finds on its disk is what its last life left there."""


@dataclass(slots=True)
class Host:
    """A machine with one service on it."""

    name: str
    birth: Birth
    node: Node | None = None
    life: Life | None = None
    lives: int = 0
    connected: bool = False
    wake: float | None = None
    doomed: bool = False
    frozen: float = 0.0


@dataclass(slots=True)
class Ring:
    """The whole ring.

    Attributes:
        now: The fake clock, seconds.
        notes: What services said for their logs, as (time, host, event, facts).
        misread: What could not be read, as (host, topic, reason).
        toll: What became of the packets.
    """

    seed: int = 0
    faults: Faults = NONE
    heartbeat_seconds: float = 5.0
    now: float = 0.0
    notes: list[tuple[float, str, str, dict[str, Any]]] = field(default_factory=list)
    misread: list[tuple[str, str, str]] = field(default_factory=list)
    toll: Toll = field(default_factory=Toll)
    on_note: Callable[[str, Note], None] = lambda _host, _note: None
    on_step: Callable[[str, str], None] = lambda _host, _step: None
    hosts: dict[str, Host] = field(default_factory=dict)
    listeners: dict[str, tuple[list[str], Callable[[Packet], None]]] = field(default_factory=dict)
    rng: Random = field(init=False)
    broker: MemoryBroker = field(init=False)
    _queue: list[tuple[float, int, Callable[[], None]]] = field(init=False, default_factory=list)
    _count: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Set up the broker and the chance."""
        self.rng = Random(self.seed)
        self.broker = MemoryBroker(self._deliver)

    # ── what a test does ──────────────────────────────────────────────────────────────────────────

    def add(self, name: str, birth: Birth) -> None:
        """Put a service on a host of its own, and start it."""
        self.hosts[name] = Host(name, birth)
        self.start(name)

    def start(self, name: str) -> None:
        """Start a service, again where it was killed; it connects a moment later."""
        host = self.hosts[name]
        host.lives += 1
        host.doomed, host.frozen = False, 0.0
        identity = Identity(
            name=name,
            incarnation=self.seed * 1000 + host.lives,
            heartbeat_seconds=self.heartbeat_seconds,
        )
        host.life = host.birth(identity)
        host.node = Node(
            identity,
            host.life.core,
            Random(f"{self.seed}/{name}/{host.lives}"),
            find_blob=host.life.find_blob,
            watch=lambda step: self.on_step(name, step),
        )
        self.at(self.now + self.rng.uniform(0, 0.05), lambda: self._connect(host, host.lives))

    def kill(self, name: str) -> None:
        """Kill a service as `kill -9` does: what it had in memory and in hand is gone."""
        host = self.hosts[name]
        if host.node is not None and host.life is not None:
            host.life.close()
            host.node = host.life = None
            host.wake = None
            self.cut(name)

    def doom(self, name: str) -> None:
        """Let nothing more of what a service is deciding happen: it dies in the middle of it."""
        self.hosts[name].doomed = True

    def freeze(self, name: str, seconds: float) -> None:
        """Let a service stand still, as SIGSTOP does; later it goes on and knows nothing of it."""
        self.hosts[name].frozen = self.now + seconds

    def cut(self, name: str) -> None:
        """Break a host's connection; the broker speaks its last will."""
        host = self.hosts[name]
        if host.connected:
            host.connected = False
            self.broker.disconnect(name, clean=False)

    def reconnect(self, name: str, after: float) -> None:
        """Let a host that was cut connect again."""
        host = self.hosts[name]
        self.at(self.now + after, lambda: self._connect(host, host.lives))

    def restart_broker(self, after: float = RECONNECT_SECONDS, *, saved: bool = False) -> None:
        """Kill the broker: all connections and all it retained are gone; hosts connect again.

        If it was `saved`, as when it is stopped cleanly, what it retained and kept stays.
        """
        self.broker.restart(saved=saved)
        for user, (topics, _) in self.listeners.items():
            self.broker.connect(user, topics)
        for host in self.hosts.values():
            if host.connected:
                host.connected = False
                self.reconnect(host.name, after * self.rng.uniform(0.5, 1.5))

    def listen(self, user: str, topics: list[str], heard: Callable[[Packet], None]) -> None:
        """Hand a foreign client what it follows, at once and unharmed."""
        self.listeners[user] = topics, heard
        self.broker.connect(user, topics)

    def publish(self, user: str, packet: Packet, qos: int = 0) -> None:
        """Publish as a foreign client would, unharmed."""
        self.broker.publish(user, packet, qos)

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call when the clock comes to this time."""
        self._count += 1
        heapq.heappush(self._queue, (time, self._count, call))

    def run(
        self,
        until: Callable[[], bool],
        seconds: float = 600.0,
        *,
        steps: int | None = MOST_STEPS,
    ) -> None:
        """Go on until something holds.

        Raises:
            RingError: it did not hold within so many seconds of the fake clock, or so many steps.
        """
        end = self.now + seconds
        for _ in count() if steps is None else range(steps):
            if until():
                return
            if not self._queue or self._queue[0][0] > end:
                raise RingError(f"seed {self.seed}: nothing came of it within {seconds:g} s")
            time, _, call = heapq.heappop(self._queue)
            self.now = max(self.now, time)
            call()
        raise RingError(f"seed {self.seed}: {steps} steps and no end")

    def told(self, event: str) -> Iterator[dict[str, Any]]:
        """Find what was noted under a name."""
        return (facts for _, _, name, facts in self.notes if name == event)

    # ── what a shell does ─────────────────────────────────────────────────────────────────────────

    def _connect(self, host: Host, life: int) -> None:
        if host.node is None or host.lives != life or host.connected:
            return
        host.connected = True
        node = host.node
        self.broker.connect(
            host.name, node.subscriptions(), node.will_packet(), node.kept_subscriptions()
        )
        node.connected(self.now)
        self._perform(host)

    def _deliver(self, name: str, packet: Packet) -> None:
        if name in self.listeners:
            self.listeners[name][1](packet)
            return
        host = self.hosts[name]
        life = host.lives
        # What the broker keeps is neither lost nor damaged on a connection; with that, it is.
        whole = [(self.faults.delay, packet)]
        struck = self.faults.strike(packet, self.rng) if packet.receipt is None else whole
        self.toll.count([delay for delay, _ in struck], self.faults.delay)
        for delay, arriving in struck:
            self.at(self.now + delay, partial(self._arrive, host, life, arriving))

    def _arrive(self, host: Host, life: int, packet: Packet) -> None:
        if self.now < host.frozen:
            self.at(host.frozen, partial(self._arrive, host, life, packet))
        elif host.node is not None and host.connected and host.lives == life:
            host.node.receive(packet, self.now)
            self._perform(host)

    def _perform(self, host: Host) -> None:
        node = host.node
        if node is None or host.doomed:
            return
        bulk: list[PublishChunk] = []
        for effect in node.take_effects():
            match effect:
                case Publish(packet) if host.connected:
                    self.broker.publish(host.name, packet)
                case PublishChunk() if host.connected:
                    bulk.append(effect)
                case Acknowledge(receipt) if host.connected:
                    self.broker.acknowledge(host.name, receipt)
                case Subscribe(topic) if host.connected:
                    self.broker.subscribe(host.name, topic)
                case Unsubscribe(topic) if host.connected:
                    self.broker.unsubscribe(host.name, topic)
                case StartRun():
                    self._start_run(host, effect)
                case Note(event, facts):
                    self.notes.append((self.now, host.name, event, facts))
                    self.on_note(host.name, effect)
                case Misread(topic, reason):
                    self.misread.append((host.name, topic, reason))
                case _:
                    pass  # not connected: asks will be asked again
        for chunk in bulk:
            if host.connected:
                self.broker.publish(host.name, chunk.packet())
        self._schedule(host)

    def _start_run(self, host: Host, run: StartRun) -> None:
        life = host.lives

        def work() -> None:
            node = host.node
            if node is None or host.lives != life:
                return
            if self.now < host.frozen:
                self.at(host.frozen, work)
                return
            try:
                result = run.call()
            except Exception as error:  # noqa: BLE001 - as a worker thread does
                node.run_failed(run.key, error, self.now)
            else:
                node.ran(run.key, result, self.now)
            self._perform(host)

        mean = WORK_SECONDS.get(run.key.name, QUICK_SECONDS)
        self.at(self.now + self.rng.uniform(0.2, 1.8) * mean, work)

    def _schedule(self, host: Host) -> None:
        node = host.node
        at = node.next_wake() if node is not None else None
        if at is None or (host.wake is not None and self.now < host.wake <= at):
            return
        host.wake = max(at, self.now)
        life, wake = host.lives, host.wake

        def tick() -> None:
            if host.node is None or host.lives != life or host.wake != wake:
                return
            if self.now < host.frozen:
                self.at(host.frozen, tick)
                return
            host.wake = None
            host.node.tick(self.now)
            self._perform(host)

        self.at(host.wake, tick)
