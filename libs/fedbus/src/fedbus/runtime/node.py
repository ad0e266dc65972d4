"""One node: bytes in, effects out. Pure.

Between a core, which speaks of messages and blobs, and a shell, which moves bytes and threads, the
node does what every service needs alike: the codec, the asks, the timers, the transfers, the
presence. `shell.py` is its shell on a real broker, `simulation/ring.py` the one on an in-memory bus
and a fake clock.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import TypeAlias, assert_never

from fedbus.blobs.transfer.chunk import read_chunk
from fedbus.blobs.transfer.downloads import (
    MAX_SERIAL,
    Downloads,
    DownloadStep,
    FollowMulticast,
    LeaveMulticast,
)
from fedbus.blobs.transfer.uploads import FindBlob, SendChunk, Uploads, UploadStep
from fedbus.core.actions import (
    Action,
    Announce,
    Ask,
    Cancel,
    Clear,
    Fetch,
    Introduce,
    Note,
    Quit,
    Reply,
    Run,
    Send,
    Serve,
    Settle,
    Trouble,
    Unserve,
    WakeAt,
)
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
from fedbus.runtime.effects import (
    Acknowledge,
    Effect,
    Misread,
    Publish,
    PublishChunk,
    StartRun,
    Subscribe,
    Unsubscribe,
)
from fedbus.runtime.name_conflict import SETTLED_SECONDS, NameConflict
from fedbus.runtime.public_topics import event_of, packet_of
from fedbus.wire import codec, topic_names, topics
from fedbus.wire.documents import Heartbeat, NodeState
from fedbus.wire.messages import BlobNotFound, ChunkRequest, Confirm, Join, Leave, UseUnicast

HEARTBEAT_SECONDS = 5.0
INTRODUCE_BEATS = 12


Vitals: TypeAlias = Callable[[], tuple[float, float]]
"""Measures (load, resident memory in MiB) of this process."""


@dataclass(frozen=True, slots=True)
class _HeartbeatTimer(Key):
    """Timer of the node itself: the next heartbeat is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a node is, and the bounds it keeps."""

    name: str
    incarnation: int
    version: str = ""
    root: str = topics.ROOT
    open_profile: bool = False
    in_flight: int = 64 * 2**20
    heartbeat_seconds: float = HEARTBEAT_SECONDS


class Node:
    """Drive a core: feed it what arrives, perform nothing, say what to perform."""

    def __init__(  # noqa: PLR0913 - one argument for each thing a node is given
        self,
        identity: Identity,
        core: Core,
        rng: Random,
        *,
        find_blob: FindBlob | None = None,
        vitals: Vitals = lambda: (0.0, 0.0),
        watch: Callable[[str], None] | None = None,
    ) -> None:
        self.identity = identity
        self._core = core
        self._vitals = vitals
        self._watch = watch
        self._asks = Retries(rng)
        self._timers = Timers[Key]()
        self._downloads = Downloads(identity.in_flight, first_serial=rng.randint(1, MAX_SERIAL))
        self._uploads = Uploads(identity.in_flight, find_blob)
        self._effects: list[Effect] = []
        self._followed: Counter[str] = Counter()
        self._beats = 0
        self._connections = 0
        self._connected_at = 0.0
        self._lacks: tuple[str, ...] = ()
        self._trouble = ""
        self.conflict = NameConflict(identity.name, identity.incarnation)

    # ── what a shell calls ────────────────────────────────────────────────────────────────────────

    def subscriptions(self) -> list[str]:
        """What to subscribe to on every connect, before `connected`."""
        root, name = self.identity.root, self.identity.name
        listens = [topic for topic in self._core.listens if not topic.kept]
        wanted = [topic_names.wildcard(root, topic) for topic in listens]
        if topics.NODE_STATE not in listens:
            wanted.append(topic_names.address(root, topics.NODE_STATE, node=name))
        # Replicas of the inference service share its requests: each goes to one of them.
        shared = topic_names.wildcard(root, topics.INFERENCE)
        return [f"{root}/link/+/{name}/+"] + [
            f"$share/inference/{topic}" if topic == shared else topic for topic in wanted
        ]

    def kept_subscriptions(self) -> list[str]:
        """What the broker shall keep for this node while it is away."""
        return [
            topic_names.wildcard(self.identity.root, topic)
            for topic in self._core.listens
            if topic.kept
        ]

    def will_packet(self) -> Packet:
        """What the broker says when this node's connection breaks."""
        return self._make_state_packet(online=False)

    def connected(self, now: float, lacks: tuple[str, ...] = ()) -> None:
        """The bus is there, subscribed; whatever was on its way before is lost.

        `lacks` are sentences of what this broker cannot do.
        """
        self._followed.clear()
        self._connections += 1
        self._connected_at = now
        self._lacks = lacks
        self._introduce()
        for topic, payload in self._asks.reconnected(now):
            self._effects.append(Publish(Packet(topic, payload)))
        self._answers(self._uploads.reconnected())
        self._steps(self._downloads.reconnected(now), now)
        self._beat(now)
        self._tell(Connected(), now)

    def state_packet(self) -> Packet:
        """What this node says of itself while it is there."""
        return self._make_state_packet(online=True)

    def stopping(self, now: float) -> None:
        """The process leaves on purpose: long work is told, and the last word is said."""
        self._tell(Stopping(), now)
        self._effects.append(Publish(self._make_state_packet(online=False)))

    def receive(self, packet: Packet, now: float) -> None:
        """Take one packet; never raises on what it holds."""
        settled = packet.receipt is not None
        try:
            settled = not self._read(packet, now) and settled
        except WireError as error:
            self._effects.append(Misread(packet.topic, str(error)))
        if settled and packet.receipt is not None:
            self._effects.append(Acknowledge(packet.receipt))

    def ran(self, key: Key, result: object, now: float) -> None:
        """A `StartRun` returned."""
        self._tell(Ran(key, result), now)

    def run_failed(self, key: Key, error: Exception, now: float) -> None:
        """A `StartRun` raised."""
        self._tell(RunFailed(key, error), now)

    def receive_local(self, message: object, now: float) -> None:
        """Somebody at this process's own door wants something."""
        self._tell(Local(message), now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        for topic, payload in self._asks.due(now):
            self._effects.append(Publish(Packet(topic, payload)))
        self._answers(self._uploads.due(now))
        self._steps(self._downloads.due(now), now)
        for key in self._timers.due(now):
            if isinstance(key, _HeartbeatTimer):
                self._beat(now)
            else:
                self._tell(Woke(key), now)

    def next_wake(self) -> float | None:
        """When to call `tick` next."""
        times = (
            self._asks.next(),
            self._uploads.next(),
            self._downloads.next(),
            self._timers.next(),
        )
        return min((at for at in times if at is not None), default=None)

    def take_effects(self) -> list[Effect]:
        """Hand over what is to be performed, in order."""
        effects, self._effects = self._effects, []
        return effects

    def progress(self) -> float:
        """Of the running work, 0 to 1."""
        return self._core.progress()

    # ── what arrives ──────────────────────────────────────────────────────────────────────────────

    def _read(self, packet: Packet, now: float) -> bool:
        """Read a packet; tell whether it is now for the core to settle it."""
        root = self.identity.root
        if not packet.topic.startswith(f"{root}/"):
            raise WireError("not a topic of ours")
        match packet.topic[len(root) + 1 :].split("/"):
            case ["link", sender, to, level] if to == self.identity.name:
                if level == topic_names.CHUNK_LEVEL:
                    self._steps(
                        self._downloads.unicast_chunk(sender, read_chunk(packet.payload), now), now
                    )
                else:
                    link = topic_names.link_of(sender, to, level)
                    self._heard(sender, codec.unpack(link.message, packet.payload), now)
            case ["blobs", source, digest]:
                chunk = read_chunk(packet.payload)
                self._steps(self._downloads.multicast_chunk(source, digest, chunk, now), now)
            case _:
                event = event_of(packet, root, open_profile=self.identity.open_profile)
                match event:
                    case Received(sender, NodeState() as state) if sender == self.identity.name:
                        self._heard_of_self(state)
                if isinstance(event, Requested) and event.receipt is not None:
                    # A receipt means something to its own connection alone.
                    event = replace(event, receipt=self._connections << 16 | event.receipt)
                if event is not None and self._listens(event):
                    self._tell(event, now)
                return isinstance(event, Requested)
        return False

    def _listens(self, event: Event) -> bool:
        """Tell what the core wants to hear from what only the node does: its own state."""
        of_self = isinstance(event, Received) and event.sender == self.identity.name
        return not of_self or topics.NODE_STATE in self._core.listens

    def _heard(self, sender: str, message: object, now: float) -> None:
        match message:
            case ChunkRequest():
                self._answers(self._uploads.request(sender, message, now))
            case Confirm():
                self._answers(self._uploads.confirm(sender, message, now))
            case Join():
                self._answers(self._uploads.join(sender, message, now))
            case Leave():
                self._answers(self._uploads.leave(sender, message, now))
            case UseUnicast():
                self._steps(self._downloads.use_unicast(sender, message, now), now)
            case BlobNotFound():
                self._steps(self._downloads.not_found(sender, message, now), now)
            case _:
                self._tell(Received(sender, message), now)

    # ── what follows ──────────────────────────────────────────────────────────────────────────────

    def _tell(self, event: Event, now: float) -> None:
        if self._watch is not None:
            self._watch(step_name(event))
        for action in self._core.handle(event, now):
            if self._watch is not None:
                self._watch(step_name(action))
            self._perform(action, now)

    def _perform(self, action: Action, now: float) -> None:
        match action:
            case Send():
                self._publish(self._link(action.to, action.message), codec.pack(action.message))
            case Ask():
                topic, payload = self._link(action.to, action.message), codec.pack(action.message)
                self._asks.start(action.key, topic, payload, now)
                first = payload if action.first is None else codec.pack(action.first)
                self._publish(topic, first)
            case Cancel():
                self._asks.cancel(action.key)
                self._timers.cancel(action.key)
                self._steps(self._downloads.cancel(action, now), now)
            case Settle(receipt):
                if receipt >> 16 == self._connections:  # else the broker gives it again
                    self._effects.append(Acknowledge(receipt & 0xFFFF))
            case WakeAt():
                self._timers.set(action.key, action.at)
            case Run():
                self._effects.append(StartRun(action.key, action.call, action.brief))
            case Fetch():
                self._steps(self._downloads.fetch(action, now), now)
            case Serve():
                self._uploads.serve(action.digest, action.source)
            case Unserve():
                self._uploads.unserve(action.digest)
            case Introduce() | Trouble():
                self._trouble = action.sentence if isinstance(action, Trouble) else self._trouble
                self._introduce()
            case Note() | Quit():
                self._effects.append(action)
            case Announce() | Clear() | Reply():
                self._effects.append(Publish(packet_of(action, self.identity.root)))
            case _:
                assert_never(action)

    def _link(self, to: str, message: object) -> str:
        return topic_names.link_topic(self.identity.root, self.identity.name, to, type(message))

    def _publish(self, topic: str, payload: bytes) -> None:
        self._effects.append(Publish(Packet(topic, payload)))

    def _answers(self, answers: Iterable[UploadStep]) -> None:
        root, name = self.identity.root, self.identity.name
        for answer in answers:
            match answer:
                case Send(to, message):
                    self._publish(self._link(to, message), codec.pack(message))
                case SendChunk(to, digest):
                    topic = (
                        topic_names.multicast_topic(root, name, digest)
                        if to is None
                        else topic_names.unicast_topic(root, name, to)
                    )
                    self._effects.append(PublishChunk(topic, answer))
                case _:
                    assert_never(answer)

    def _steps(self, steps: Iterable[DownloadStep], now: float) -> None:
        for step in steps:
            match step:
                case Send(to, message):
                    self._publish(self._link(to, message), codec.pack(message))
                case Fetched() | FetchFailed():
                    self._tell(step, now)
                case LeaveMulticast():
                    self._follow(
                        topic_names.multicast_topic(self.identity.root, step.source, step.digest),
                        -1,
                    )
                case FollowMulticast():
                    self._follow(
                        topic_names.multicast_topic(self.identity.root, step.source, step.digest), 1
                    )
                case _:
                    assert_never(step)

    def _follow(self, topic: str, change: int) -> None:
        # Two fetches may follow one group: the last to leave unsubscribes.
        before = self._followed.pop(topic, 0)
        if before + change > 0:
            self._followed[topic] = before + change
        if before == 0 and change > 0:
            self._effects.append(Subscribe(topic))
        elif before == 1 and change < 0:
            self._effects.append(Unsubscribe(topic))

    # ── presence ──────────────────────────────────────────────────────────────────────────────────

    def _introduce(self) -> None:
        self._effects.append(Publish(self.state_packet()))
        self.conflict.said()

    def _heard_of_self(self, state: NodeState) -> None:
        if self.conflict.heard(state):
            facts = {"other": state.incarnation, "reason": self.conflict.trouble}
            self._effects.append(Note("name_used_twice", facts))
            if self.conflict.count == 1:  # the other one, and people, are to read it
                self._introduce()

    def _make_state_packet(self, *, online: bool) -> Packet:
        state = NodeState(
            node=self.identity.name,
            incarnation=self.identity.incarnation,
            online=online,
            version=self.identity.version,
            agent=self._core.facts() if online else None,
            trouble="; ".join(filter(None, (self._trouble, self.conflict.trouble, *self._lacks))),
        )
        return packet_of(Announce(topics.NODE_STATE, state), self.identity.root)

    def _beat(self, now: float) -> None:
        load, memory = self._vitals()
        beat = Heartbeat(
            incarnation=self.identity.incarnation,
            load=load,
            memory_mb=memory,
            progress=self._core.progress(),
        )
        topic = topic_names.address(self.identity.root, topics.HEARTBEAT, node=self.identity.name)
        self._publish(topic, codec.pack(beat))
        self._timers.set(_HeartbeatTimer(), now + self.identity.heartbeat_seconds)
        self._beats += 1
        if self.conflict.count and now - self._connected_at > SETTLED_SECONDS:
            self.conflict.settled()
            self._introduce()
        elif self._beats % INTRODUCE_BEATS == 0:  # in case the controller missed the first time
            self._introduce()
