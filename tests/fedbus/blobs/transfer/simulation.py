"""Links with faults, and peers that fetch and serve over them, on a clock of their own.

Every peer has a wire up to a broker and a wire down from it. A wire has a rate and a delay; it may
lose, repeat and delay what it carries. Nothing here knows how a transfer works: it only moves what
`Downloads` and `Uploads` yield.
"""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from fedbus.blobs.transfer.chunk import Chunk
from fedbus.blobs.transfer.downloads import Downloads, DownloadStep, FollowMulticast, LeaveMulticast
from fedbus.blobs.transfer.uploads import OpenStored, SendChunk, Uploads, UploadStep
from fedbus.core.actions import Fetch, Send
from fedbus.core.events import Fetched, FetchFailed
from fedbus.core.keys import Key
from fedbus.wire.blobs import CHUNK_BYTES, BlobLocation, BlobRef
from fedbus.wire.messages import BlobNotFound, ChunkRequest, Confirm, Join, Leave, UseUnicast

IN_FLIGHT = 64 * 2**20
BROKER_QUEUE = 100
"""Packets that a broker queues for one subscriber; it drops further ones without notice."""
MESSAGE_BYTES = 100
NOISE = Random(1).randbytes(20 * CHUNK_BYTES + 16)


@dataclass(frozen=True, kw_only=True)
class Blob:
    """A blob that a source serves: a stretch of noise."""

    digest: str
    content: memoryview

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def blob_ref(self) -> BlobRef:
        return BlobRef(digest=self.digest, size=self.size)

    def read(self, offset: int, length: int) -> memoryview:
        return self.content[offset : offset + length]


def blob(size: int, name: str = "a") -> Blob:
    """Make a blob; blobs of other names have other content."""
    start = ord(name) % 16
    return Blob(digest=name * 64, content=memoryview(NOISE)[start : start + size])


@dataclass(frozen=True)
class Shelf:
    """Stored blobs; those in `closed` have to be opened first."""

    blobs: dict[str, Blob]
    closed: set[str] = field(default_factory=set)

    def opened_blob(self, digest: str) -> Blob | None:
        return None if digest in self.closed else self.blobs.get(digest)

    def open_blob(self, digest: str) -> Blob | None:
        self.closed.discard(digest)
        return self.blobs.get(digest)


class MemorySink:
    """A sink that remembers how often it was written."""

    def __init__(self, size: int) -> None:
        self.content = bytearray(size)
        self.writes: Counter[int] = Counter()

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self.content[offset : offset + len(data)] = data
        self.writes[offset] += 1


@dataclass(frozen=True, kw_only=True)
class Link:
    """How good a peer's link is, each way; chances are per packet."""

    rate: float = math.inf
    delay: float = 0.001
    loss: float = 0.0
    duplicates: float = 0.0
    jitter: float = 0.0


class World:
    """The clock, the broker, and what has crossed it."""

    def __init__(self, seed: int = 0, *, faults_until: float = math.inf) -> None:
        self.now = 0.0
        self.rng = Random(seed)
        self.faults_until = faults_until
        self.peers: dict[str, Peer] = {}
        self.left: Counter[tuple[str, int]] = Counter()
        self.most_held = 0
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0

    def at(self, when: float, call: Callable[[], object]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, call))

    def run(self, until: float) -> None:
        """Run all steps until then, in order; return earlier if no step is left."""
        while True:
            happens = self._events[0][0] if self._events else math.inf
            peer = min(self.peers.values(), key=Peer.wakes, default=None)
            wakes = peer.wakes() if peer else math.inf
            if min(happens, wakes) > until:
                return
            self.now = max(self.now, min(happens, wakes))
            if happens <= wakes:
                heapq.heappop(self._events)[2]()
            else:
                assert peer
                peer.tick()

    def publish(self, sender: str, to: str, message: object) -> None:
        """Pass a message on, as a broker does."""
        if to in self.peers:
            self.peers[to].down(MESSAGE_BYTES, lambda: self.peers[to].hear(sender, message))

    def publish_chunk(self, sender: str, step: SendChunk) -> None:
        """Deliver a chunk, to one node or to all followers of the multicast."""
        at = step.index * CHUNK_BYTES
        data = memoryview(step.source.read(at, min(CHUNK_BYTES, step.source.size - at)))
        chunk = Chunk(step.serial, step.index, data)
        for peer in self.peers.values():
            if step.to is None and (sender, step.digest) in peer.follows:
                peer.chunk(
                    chunk,
                    lambda p: p.downloads.multicast_chunk(sender, step.digest, chunk, self.now),
                )
            elif step.to == peer.name:
                peer.chunk(chunk, lambda p: p.downloads.unicast_chunk(sender, chunk, self.now))


class Peer:
    """One node: it fetches and it serves."""

    def __init__(self, world: World, name: str, link: Link | None = None) -> None:
        self.world = world
        self.name = name
        self.link = link or Link()
        self.online = True
        self.connection = 0
        self.follows: Counter[tuple[str, str]] = Counter()
        self.blobs: dict[str, Blob] = {}
        self.fetches: dict[Key, Fetch] = {}
        self.done: dict[Key, float] = {}
        self.failed: dict[Key, str] = {}
        self.failed_at = 0.0
        self.most_outstanding = 0
        self.arrived: Counter[int] = Counter()
        self.held = 0
        self._free = {"up": 0.0, "down": 0.0}
        self._begin()
        world.peers[name] = self

    def _begin(self) -> None:
        self.downloads = Downloads(IN_FLIGHT, first_serial=self.world.rng.randint(1, 2**31))
        self.uploads = Uploads(IN_FLIGHT, Shelf(self.blobs))

    def fetch(self, key: Key, wanted: Blob, source: "Peer", members: int = 0) -> MemorySink:
        """Begin to fetch; what becomes of it appears in `done` or `failed`."""
        location = BlobLocation(blob_ref=wanted.blob_ref, source=source.name)
        sink = MemorySink(wanted.size)
        self.fetches[key] = Fetch(key, location, sink, members)
        self.perform(self.downloads.fetch(self.fetches[key], self.world.now))
        return sink

    def sink(self, key: Key) -> MemorySink:
        sink = self.fetches[key].sink
        assert isinstance(sink, MemorySink)
        return sink

    def leave(self) -> None:
        """Lose the connection, and with it what was on its way here."""
        self.online = False
        self.connection += 1
        self.follows.clear()
        self.held = 0
        self._free = dict.fromkeys(self._free, 0.0)

    def come_back(self, *, restarted: bool) -> None:
        """Connect again, perhaps as a new process that remembers only what it was to fetch."""
        self.online = True
        self.connection += 1
        self.follows.clear()
        now = self.world.now
        if restarted:
            self._begin()
            for key, fetch in self.fetches.items():
                if key not in self.done:
                    again = Fetch(
                        key, fetch.location, MemorySink(len(self.sink(key).content)), fetch.members
                    )
                    self.fetches[key] = again
                    self.perform(self.downloads.fetch(again, now))
        else:
            self.perform(self.uploads.reconnected())
            self.perform(self.downloads.reconnected(now))

    def wakes(self) -> float:
        times = (self.downloads.next(), self.uploads.next())
        return min((at for at in times if at is not None), default=math.inf)

    def tick(self) -> None:
        self.perform(self.uploads.due(self.world.now))
        self.perform(self.downloads.due(self.world.now))

    def hear(self, sender: str, message: object) -> None:
        now = self.world.now
        match message:
            case ChunkRequest():
                self.perform(self.uploads.request(sender, message, now))
            case Join():
                self.perform(self.uploads.join(sender, message, now))
            case Confirm():
                self.perform(self.uploads.confirm(sender, message, now))
            case Leave():
                self.perform(self.uploads.leave(sender, message, now))
            case UseUnicast():
                self.perform(self.downloads.use_unicast(sender, message, now))
            case BlobNotFound():
                self.perform(self.downloads.not_found(sender, message, now))

    def perform(self, steps: Iterable[DownloadStep | UploadStep]) -> None:
        world, name = self.world, self.name
        for step in steps:
            match step:
                case Send(to, message):
                    self._up(MESSAGE_BYTES, partial(world.publish, name, to, message))
                case SendChunk():
                    world.left[(step.digest, step.index)] += 1
                    size = min(CHUNK_BYTES, step.source.size - step.index * CHUNK_BYTES)
                    self._up(size, partial(world.publish_chunk, name, step))
                case OpenStored(digest):
                    found = self.blobs.get(digest)
                    self.perform(self.uploads.opened(digest, found, world.now))
                case FollowMulticast() | LeaveMulticast():
                    change = -1 if isinstance(step, LeaveMulticast) else 1
                    self._follow((step.source, step.digest), change)
                case Fetched(key):
                    self.done[key] = world.now
                case FetchFailed(key, reason):
                    self.failed[key] = reason
                    self.failed_at = world.now
        self.most_outstanding = max(self.most_outstanding, self.downloads.outstanding)

    def chunk(self, chunk: Chunk, take: Callable[["Peer"], Iterable[DownloadStep]]) -> None:
        """Carry a chunk from the broker to here."""

        def arrive() -> None:
            self.arrived[chunk.index] += 1
            self.perform(take(self))

        self.down(len(chunk.data), arrive)

    def down(self, size: int, arrive: Callable[[], None]) -> None:
        """Carry from the broker to here, as far as it keeps things for one subscriber."""
        if self.online and self.held < BROKER_QUEUE:
            connection = self.connection

            def let_go() -> None:
                if self.connection == connection:
                    self.held -= 1

            self.held += 1
            held = sum(peer.held for peer in self.world.peers.values())
            self.world.most_held = max(self.world.most_held, held)
            self.world.at(self._carry("down", size, arrive), let_go)

    def _up(self, size: int, arrive: Callable[[], None]) -> None:
        if self.online:
            self._carry("up", size, arrive)

    def _follow(self, topic: tuple[str, str], change: int) -> None:
        connection = self.connection

        def subscribe() -> None:
            if self.connection == connection:
                self.follows[topic] += change
                if self.follows[topic] <= 0:
                    del self.follows[topic]

        # A broker answers subscriptions, so they are not lost.
        self.world.at(max(self.world.now, self._free["up"]) + self.link.delay, subscribe)

    def _carry(self, way: str, size: int, arrive: Callable[[], None]) -> float:
        world, link = self.world, self.link
        connection = self.connection

        def arrived() -> None:
            if self.connection == connection:  # a new one gets nothing that an old one was sent
                arrive()

        self._free[way] = at = max(self._free[way], world.now) + size / link.rate
        faulty = world.now < world.faults_until
        lost = faulty and world.rng.random() < link.loss
        copies = 2 if faulty and world.rng.random() < link.duplicates else 1
        for _ in range(0 if lost else copies):
            late = world.rng.uniform(0, link.jitter) if faulty else 0.0
            world.at(at + link.delay + late, arrived)
        return at
