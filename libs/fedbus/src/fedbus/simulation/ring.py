"""All services in one process and one thread, on an in-memory broker and a simulated clock.

A host runs a service's real core in a real `Node`. The ring performs the effects that `shell.py`
performs on a real broker: packets pass an in-memory broker with the access rules, and a call in a
thread becomes a call at a later simulated time. The same seed gives the same run.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from fedbus.core.actions import Deliver, Note
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
from fedbus.runtime.heartbeat import HEARTBEAT_SECONDS
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.simulation.host import Host, ServiceFactory
from fedbus.simulation.network_faults import NO_FAULTS, MessageCounts, NetworkFaults
from fedbus.simulation.virtual_clock import VirtualClock

WORK_SECONDS = {"TrainingWork": 0.4, "EvaluationWork": 0.1}
"""Mean simulated duration of a call in a thread, by the class name of its key."""
OTHER_WORK_SECONDS = 0.005
RECONNECT_SECONDS = 1.0


class Killed(BaseException):
    """Raised by a fault test at a step on the disk: the process is killed there."""


@dataclass(slots=True)
class Ring(VirtualClock):
    """Hosts, their broker and their clock.

    Attributes:
        notes: Log events of services, as (time, host, event, facts).
        misread: Packets that could not be decoded, as (host, topic, reason).
        message_counts: Delivered, lost, repeated and delayed packets.
        on_note: Called with each log event and its host.
        on_step: Called with the name of each step of a core, for faults at a step.
        on_publish: Called with the name of a host and each packet that it publishes, before faults.
    """

    faults: NetworkFaults = NO_FAULTS
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    notes: list[tuple[float, str, str, dict[str, Any]]] = field(default_factory=list)
    misread: list[tuple[str, str, str]] = field(default_factory=list)
    message_counts: MessageCounts = field(default_factory=MessageCounts)
    on_note: Callable[[str, Note], None] = lambda _host, _note: None
    on_step: Callable[[str, str], None] = lambda _host, _step: None
    on_publish: Callable[[str, Packet], None] = lambda _host, _packet: None
    hosts: dict[str, Host] = field(default_factory=dict)
    listeners: dict[str, tuple[list[str], Callable[[Packet], None]]] = field(default_factory=dict)
    rng: Random = field(init=False)
    broker: MemoryBroker = field(init=False)

    def __post_init__(self) -> None:
        """Make the broker and the random generator."""
        self.rng = Random(self.seed)
        self.broker = MemoryBroker(self._deliver)

    def add(self, name: str, factory: ServiceFactory) -> None:
        """Put a service on a host of its own, and start it."""
        self.hosts[name] = Host(name, factory)
        self.start(name)

    def start(self, name: str) -> None:
        """Start a service, or restart it after a kill; it connects up to 0.05 s later."""
        host = self.hosts[name]
        host.starts += 1
        host.dropping_actions, host.frozen = False, 0.0
        identity = Identity(
            name=name,
            incarnation=self.seed * 1000 + host.starts,
            heartbeat_seconds=self.heartbeat_seconds,
        )
        host.service = host.factory(identity)
        host.node = Node(
            identity,
            host.service.core,
            Random(f"{self.seed}/{name}/{host.starts}"),
            stored=host.service.stored,
            watch=lambda step: self.on_step(name, step),
        )
        self.at(self.now + self.rng.uniform(0, 0.05), lambda: self._connect(host, host.starts))

    def kill(self, name: str) -> None:
        """Kill a service as SIGKILL does: its memory and its running calls are lost."""
        host = self.hosts[name]
        if host.node is not None and host.service is not None:
            host.service.close()
            host.node = host.service = None
            host.wake = None
            self.cut(name)

    def kill_before_actions(self, name: str) -> None:
        """Discard the actions that a service is about to perform; the caller then kills it."""
        self.hosts[name].dropping_actions = True

    def freeze(self, name: str, seconds: float) -> None:
        """Suspend a service, as SIGSTOP does; it resumes later without noticing."""
        self.hosts[name].frozen = self.now + seconds

    def cut(self, name: str) -> None:
        """Break a host's connection; the broker publishes its last will."""
        host = self.hosts[name]
        if host.connected:
            host.connected = False
            self.broker.disconnect(name, clean=False)

    def reconnect(self, name: str, after: float) -> None:
        """Reconnect a host that was cut, after some seconds."""
        host = self.hosts[name]
        self.at(self.now + after, lambda: self._connect(host, host.starts))

    def restart_broker(self, after: float = RECONNECT_SECONDS, *, saved: bool = False) -> None:
        """Restart the broker; hosts reconnect after 0.5 to 1.5 times `after` seconds.

        Retained messages and sessions survive only if `saved`, as at a clean stop.
        """
        self.broker.restart(saved=saved)
        for user, (topics, _) in self.listeners.items():
            self.broker.connect(user, topics)
        for host in self.hosts.values():
            if host.connected:
                host.connected = False
                self.reconnect(host.name, after * self.rng.uniform(0.5, 1.5))

    def listen(self, user: str, topics: list[str], heard: Callable[[Packet], None]) -> None:
        """Connect a foreign client; it gets the packets of these topics at once and undamaged."""
        self.listeners[user] = topics, heard
        self.broker.connect(user, topics)

    def publish(self, user: str, packet: Packet, qos: int = 0) -> None:
        """Publish a packet as a foreign client, without faults."""
        self.broker.publish(user, packet, qos)

    def noted(self, event: str) -> Iterator[dict[str, Any]]:
        """Yield the facts of each log event of this name."""
        return (facts for _, _, name, facts in self.notes if name == event)

    def _connect(self, host: Host, start: int) -> None:
        if host.node is None or host.starts != start or host.connected:
            return
        host.connected = True
        node = host.node
        will, kept = node.will_packet(), node.kept_subscriptions()
        self.broker.connect(host.name, node.subscriptions(), will, kept)
        node.connected(self.now)
        self._perform(host)

    def _deliver(self, name: str, packet: Packet) -> None:
        if name in self.listeners:
            self.listeners[name][1](packet)
            return
        host = self.hosts[name]
        start = host.starts
        # QoS 1 packets, which have a receipt, are neither lost nor damaged while connected.
        intact = [(self.faults.delay, packet)]
        deliveries = self.faults.deliveries(packet, self.rng) if packet.receipt is None else intact
        self.message_counts.count([delay for delay, _ in deliveries], self.faults.delay)
        for delay, arriving in deliveries:
            self.at(self.now + delay, partial(self._arrive, host, start, arriving))

    def _arrive(self, host: Host, start: int, packet: Packet) -> None:
        if self.now < host.frozen:
            self.at(host.frozen, partial(self._arrive, host, start, packet))
        elif host.node is not None and host.connected and host.starts == start:
            try:
                host.node.receive(packet, self.now)
            except Killed:  # a repository writes each part of a blob when it arrives
                self.kill(host.name)
            self._perform(host)

    def _perform(self, host: Host) -> None:
        node = host.node
        if node is None or host.dropping_actions:
            return
        bulk: list[PublishChunk] = []
        for effect in node.take_effects():
            match effect:
                case Publish(packet) if host.connected:
                    self.on_publish(host.name, packet)
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
                case Deliver(to, result):
                    to(result)
                case Misread(topic, reason):
                    self.misread.append((host.name, topic, reason))
                case _:
                    pass  # not connected: asks are repeated later
        for chunk in bulk:
            if host.connected:
                packet = chunk.packet()
                self.on_publish(host.name, packet)
                self.broker.publish(host.name, packet)
        self._schedule(host)

    def _start_run(self, host: Host, run: StartRun) -> None:
        start = host.starts

        def work() -> None:
            node = host.node
            if node is None or host.starts != start:
                return
            if self.now < host.frozen:
                self.at(host.frozen, work)
                return
            try:
                result = run.call()
            except Killed:
                self.kill(host.name)
                return
            except Exception as error:  # noqa: BLE001 - as a worker thread does
                node.run_failed(run.key, error, self.now)
            else:
                node.ran(run.key, result, self.now)
            self._perform(host)

        mean = WORK_SECONDS.get(run.key.name, OTHER_WORK_SECONDS)
        self.at(self.now + self.rng.uniform(0.2, 1.8) * mean, work)

    def _schedule(self, host: Host) -> None:
        at = host.node.next_wake() if host.node is not None else None
        if at is None or (host.wake is not None and self.now < host.wake <= at):
            return
        host.wake = max(at, self.now)
        start, wake = host.starts, host.wake

        def tick() -> None:
            if host.node is None or host.starts != start or host.wake != wake:
                return
            if self.now < host.frozen:
                self.at(host.frozen, tick)
                return
            host.wake = None
            host.node.tick(self.now)
            self._perform(host)

        self.at(host.wake, tick)
