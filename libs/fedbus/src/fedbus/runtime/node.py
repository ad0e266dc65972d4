"""A node: packets and timers in, effects out. Pure.

Between a core, which handles messages and blobs, and a shell, which handles bytes and threads, the
node does what every service needs: codec, asks, timers, transfers, presence. `shell.py` is its
shell on a real broker, `simulation/ring.py` the one on a broker in memory and a simulated clock.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import Any, assert_never

from fedbus.blobs.transfer.chunk import read_chunk
from fedbus.blobs.transfer.downloads import MAX_SERIAL
from fedbus.core.actions import (
    Action,
    Announce,
    AnnounceEncryptionKey,
    AnnounceNoiseKey,
    Ask,
    Cancel,
    Clear,
    Deliver,
    Fetch,
    Follow,
    Introduce,
    Note,
    Quit,
    Reply,
    Run,
    Send,
    Serve,
    Settle,
    Trouble,
    Unfollow,
    Unserve,
    WakeAt,
)
from fedbus.core.blob_io import BlobFinder
from fedbus.core.events import (
    Connected,
    Event,
    Fetched,
    FetchFailed,
    Local,
    Ran,
    Received,
    Requested,
    RunFailed,
    Stopping,
    Woke,
)
from fedbus.core.interface import Core, step_name
from fedbus.core.keys import Key
from fedbus.core.retries import Retries
from fedbus.core.timers import Timers
from fedbus.errors import WireError
from fedbus.mqtt.bus import Packet
from fedbus.runtime.effects import Acknowledge, Effect, Misread, Publish, StartRun
from fedbus.runtime.identity import Identity
from fedbus.runtime.node_subscriptions import NodeSubscriptions
from fedbus.runtime.node_transfers import (
    NodeTransfers,
    OpenedBlob,
    TransferMessage,
    TransferStep,
)
from fedbus.runtime.presence import Presence, Vitals
from fedbus.runtime.public_topics import event_of, packet_of
from fedbus.wire import codec, topic_names, topics
from fedbus.wire.documents import NodeState


@dataclass(frozen=True, slots=True)
class _HeartbeatTimer(Key):
    """Timer of the node itself: the next heartbeat is due."""


class Node:
    """Connect a core to the bus: pass it events, and collect the effects of its actions.

    Args:
        rng: Draws the jitter of asks and the first serial of chunk requests.
        stored: Finds blobs that are served without `Serve`.
        vitals: Measures load and memory for heartbeats.
        watch: Called with the name of each event and action, for fault tests.
    """

    def __init__(  # noqa: PLR0913 - one argument for each thing a node is given
        self,
        identity: Identity,
        core: Core,
        rng: Random,
        *,
        stored: BlobFinder | None = None,
        vitals: Vitals = lambda: (0.0, 0.0),
        watch: Callable[[str], None] | None = None,
    ) -> None:
        self.identity = identity
        self._core = core
        self._watch = watch
        self._asks = Retries(rng)
        self._timers = Timers[Key]()
        self._transfers = NodeTransfers(identity, rng.randint(1, MAX_SERIAL), stored)
        self._presence = Presence(identity, core, vitals)
        self._effects: list[Effect] = []
        self._subscriptions = NodeSubscriptions(identity, core.listens)
        self._connections = 0
        self.conflict = self._presence.conflict

    def subscriptions(self) -> list[str]:
        """Return the topics to subscribe to on every connect, before `connected`."""
        return self._subscriptions.names

    def kept_subscriptions(self) -> list[str]:
        """Return the topics whose messages the broker keeps while this node is disconnected."""
        return self._subscriptions.kept

    def will_packet(self) -> Packet:
        """Return the last will: the state that the broker publishes when the connection breaks."""
        return self._presence.state_packet(online=False)

    def state_packet(self) -> Packet:
        """Return the state of this node while it is online."""
        return self._presence.state_packet(online=True)

    def connected(self, now: float, lacks: tuple[str, ...] = ()) -> None:
        """Start on a new, subscribed connection; what was in transit before is lost.

        `lacks` are sentences about features that this broker does not have.
        """
        self._connections += 1
        self._effects.append(self._presence.connected(now, lacks))
        self._publish(self._asks.reconnected(now))
        self._transfer(self._transfers.reconnected(now), now)
        self._heartbeat(now)
        self._handle(Connected(), now)

    def stopping(self, now: float) -> None:
        """Inform the core that the process stops, and publish the state `online: false`."""
        self._handle(Stopping(), now)
        self._effects.append(Publish(self.will_packet()))

    def receive(self, packet: Packet, now: float) -> None:
        """Handle one packet; never raises on its content."""
        settled = packet.receipt is not None
        try:
            settled = not self._read(packet, now) and settled
        except WireError as error:
            self._effects.append(Misread(packet.topic, str(error)))
        if settled and packet.receipt is not None:
            self._effects.append(Acknowledge(packet.receipt))

    def ran(self, key: Key, result: Any, now: float) -> None:  # noqa: ANN401 - of any call
        """Handle the result of a `StartRun`."""
        if isinstance(key, OpenedBlob):
            self._transfer(self._transfers.opened(key.digest, result, now), now)
            return
        self._handle(Ran(key, result), now)

    def run_failed(self, key: Key, error: Exception, now: float) -> None:
        """Handle the error of a `StartRun`."""
        if isinstance(key, OpenedBlob):
            self._transfers.not_opened(key.digest)
            facts = {"digest": key.digest, "reason": f"{type(error).__name__}: {error}"}
            self._effects.append(Note("blob_not_opened", facts))
            return
        self._handle(RunFailed(key, error), now)

    def receive_local(self, message: object, now: float) -> None:
        """Handle a request that arrived over this process's own HTTP API."""
        self._handle(Local(message), now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._publish(self._asks.due(now))
        self._transfer(self._transfers.due(now), now)
        for key in self._timers.due(now):
            if isinstance(key, _HeartbeatTimer):
                self._heartbeat(now)
            else:
                self._handle(Woke(key), now)

    def next_wake(self) -> float | None:
        """Return when to call `tick` next."""
        times = (self._asks.next(), self._transfers.next(), self._timers.next())
        return min((at for at in times if at is not None), default=None)

    def take_effects(self) -> list[Effect]:
        """Return the effects to perform, in order, and forget them."""
        effects, self._effects = self._effects, []
        return effects

    def progress(self) -> float:
        """Return the progress of the running work, 0 to 1."""
        return self._core.progress()

    def _read(self, packet: Packet, now: float) -> bool:
        """Handle a packet, and return whether the core must settle it."""
        root = self.identity.root
        if not packet.topic.startswith(f"{root}/"):
            raise WireError("not a topic of ours")
        match packet.topic[len(root) + 1 :].split("/"):
            case ["link", sender, to, topic_names.CHUNK_LEVEL] if to == self.identity.name:
                chunk = read_chunk(packet.payload)
                self._transfer(self._transfers.unicast_chunk(sender, chunk, now), now)
            case ["link", sender, to, level] if to == self.identity.name:
                link = topic_names.link_of(sender, to, level)
                message = codec.unpack(link.message, packet.payload)
                if isinstance(message, TransferMessage):
                    self._transfer(self._transfers.receive(sender, message, now), now)
                else:
                    self._handle(Received(sender, message), now)
            case ["blobs", source, digest]:
                chunk = read_chunk(packet.payload)
                self._transfer(self._transfers.multicast_chunk(source, digest, chunk, now), now)
            case _:
                return self._read_public(packet, now)
        return False

    def _read_public(self, packet: Packet, now: float) -> bool:
        event = event_of(packet, self.identity.root, open_profile=self.identity.open_profile)
        match event:
            case Received(sender, message) if sender == self.identity.name:
                if isinstance(message, NodeState):
                    self._effects.extend(self._presence.own_state_received(message))
                if topics.NODE_STATE not in self._core.listens:
                    return False
            case Requested(receipt=int(receipt)):
                # A receipt is valid on its own connection only.
                event = replace(event, receipt=self._connections << 16 | receipt)
        if event is not None:
            self._handle(event, now)
        return isinstance(event, Requested)

    def _handle(self, event: Event, now: float) -> None:
        if self._watch is not None:
            self._watch(step_name(event))
        for action in self._core.handle(event, now):
            if self._watch is not None:
                self._watch(step_name(action))
            self._perform(action, now)

    def _perform(self, action: Action, now: float) -> None:
        match action:
            case Send():
                self._effects.append(Publish(self.identity.packet_to(action.to, action.message)))
            case Ask():
                self._ask(action, now)
            case Cancel():
                self._asks.cancel(action.key)
                self._timers.cancel(action.key)
                self._transfer(self._transfers.perform(action, now), now)
            case Fetch() | Serve() | Unserve():
                self._transfer(self._transfers.perform(action, now), now)
            case Settle(receipt):
                if receipt >> 16 == self._connections:  # else the broker delivers it again
                    self._effects.append(Acknowledge(receipt & 0xFFFF))
            case WakeAt():
                self._timers.set(action.key, action.at)
            case Run():
                brief, apart = action.brief, action.apart
                self._effects.append(StartRun(action.key, action.call, brief, apart=apart))
            case Follow() | Unfollow():
                self._effects.extend(self._subscriptions.perform(action))
            case Introduce() | Trouble() | AnnounceNoiseKey() | AnnounceEncryptionKey():
                self._effects.extend(self._presence.perform(action))
            case Note() | Quit() | Deliver():
                self._effects.append(action)
            case Announce() | Clear() | Reply():
                self._effects.append(Publish(packet_of(action, self.identity.root)))
            case _:
                assert_never(action)

    def _ask(self, ask: Ask, now: float) -> None:
        packet = self.identity.packet_to(ask.to, ask.message)
        self._asks.start(ask.key, packet.topic, packet.payload, now)
        first = packet if ask.first is None else self.identity.packet_to(ask.to, ask.first)
        self._effects.append(Publish(first))

    def _publish(self, due: Iterable[tuple[str, bytes]]) -> None:
        self._effects.extend(Publish(Packet(topic, payload)) for topic, payload in due)

    def _transfer(self, steps: Iterable[TransferStep], now: float) -> None:
        for step in steps:
            if isinstance(step, Fetched | FetchFailed):
                self._handle(step, now)
            else:
                self._effects.append(step)

    def _heartbeat(self, now: float) -> None:
        self._effects.extend(self._presence.heartbeat(now))
        self._timers.set(_HeartbeatTimer(), now + self.identity.heartbeat_seconds)
