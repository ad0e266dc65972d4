"""Chunks that wait: in order for each topic, and no slow source stops the others."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from fedbus.blobs.transfer.chunk import read_chunk
from fedbus.blobs.transfer.uploads import SendChunk
from fedbus.core.actions import Serve
from fedbus.core.events import Connected
from fedbus.errors import StoreError
from fedbus.mqtt.bus import Packet
from fedbus.runtime.chunk_queue import ChunkQueue
from fedbus.runtime.effects import PublishChunk
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.runtime.shell import Shell
from fedbus.wire import topic_names
from fedbus.wire.blobs import CHUNK_BYTES
from fedbus.wire.messages import ChunkRequest
from fedbus.wire.topics import ROOT
from tests.fedbus.blobs.transfer.simulation import Blob, Shelf, blob
from tests.fedbus.runtime.node.harness import Fake, link


@dataclass
class Slow:
    """A source whose chunks are in memory once they were read, the next one with them."""

    content: bytes
    reads: list[int] = field(default_factory=list)
    in_memory: set[int] = field(default_factory=set)
    broken: bool = False

    @property
    def size(self) -> int:
        return len(self.content)

    def read_now(self, offset: int, length: int) -> bytes | None:
        index = offset // CHUNK_BYTES
        return self.content[offset : offset + length] if index in self.in_memory else None

    def read(self, offset: int, length: int) -> bytes:
        index = offset // CHUNK_BYTES
        self.reads.append(index)
        if self.broken:
            raise StoreError("the disk is away")
        self.in_memory |= {index, index + 1}
        return self.content[offset : offset + length]


@dataclass
class Threads:
    """Reads that end when the test says so."""

    waiting: list[tuple[Callable[[], Packet], Callable[["Future[Packet]"], None]]] = field(
        default_factory=list
    )

    def read(self, call: Callable[[], Packet], done: Callable[["Future[Packet]"], None]) -> None:
        self.waiting.append((call, done))

    def end(self) -> None:
        call, done = self.waiting.pop(0)
        future: Future[Packet] = Future()
        try:
            future.set_result(call())
        except StoreError as error:
            future.set_exception(error)
        done(future)


def chunks(topic: str, source: Slow | Blob, count: int) -> list[PublishChunk]:
    """The first chunks of a source, to one topic."""
    return [
        PublishChunk(topic, SendChunk("agent.a", "d" * 64, source, index + 5, index))
        for index in range(count)
    ]


def taken(queue: ChunkQueue) -> list[tuple[str, int]]:
    """The topics and indices of what can be published now."""
    found: list[tuple[str, int]] = []
    while (packet := queue.take()) is not None:
        found.append((packet.topic, read_chunk(bytes(packet.payload)).index))
    return found


def test_a_source_that_waits_holds_back_its_own_topic_alone() -> None:
    """Each topic keeps its order; a chunk that was read ahead costs no second wait."""
    threads, woken, unreadable = Threads(), list[bool](), list[Exception]()
    queue = ChunkQueue(
        threads.read, lambda: woken.append(True), lambda _, error: unreadable.append(error)
    )
    slow, fast = Slow(bytes(4 * CHUNK_BYTES)), blob(2 * CHUNK_BYTES)
    for chunk in [*chunks("a", slow, 2), *chunks("b", fast, 2)]:
        queue.put(chunk)
    assert taken(queue) == [("b", 0), ("b", 1)]
    for chunk in [*chunks("a", slow, 4)[2:], *chunks("b", fast, 1)]:
        queue.put(chunk)
    assert taken(queue) == [("b", 0)]
    assert (len(threads.waiting), woken) == (1, [])
    threads.end()
    assert woken == [True]
    assert taken(queue) == [("a", 0), ("a", 1)]
    threads.end()
    assert taken(queue) == [("a", 2), ("a", 3)]
    assert slow.reads == [0, 2]
    assert not threads.waiting
    assert not unreadable


def test_a_chunk_that_cannot_be_read_is_left_out() -> None:
    """The later ones of its topic are tried; the receiver requests it again."""
    threads, unreadable = Threads(), list[tuple[int, str]]()
    queue = ChunkQueue(
        threads.read,
        lambda: None,
        lambda chunk, error: unreadable.append((chunk.chunk.index, str(error))),
    )
    slow = Slow(bytes(3 * CHUNK_BYTES), broken=True)
    for chunk in chunks("a", slow, 3):
        queue.put(chunk)
    assert taken(queue) == []
    threads.end()
    assert taken(queue) == []
    slow.broken = False
    threads.end()
    assert taken(queue) == [("a", 1), ("a", 2)]
    assert unreadable == [(0, "the disk is away")]


class Recorded:
    """A bus without a broker: it brings what the test puts in, and keeps what is published."""

    lacks = ()

    def __init__(self) -> None:
        self.arriving: asyncio.Queue[Packet] = asyncio.Queue()
        self.published: list[Packet] = []

    async def batches(self) -> AsyncIterator[list[Packet]]:
        while True:
            yield [await self.arriving.get()]

    async def publish(self, *packets: Packet) -> None:
        self.published.extend(packets)

    async def subscribe(self, *topics: str) -> None: ...


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another task or thread does."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a condition of other tasks
            await asyncio.sleep(0.005)


async def test_a_database_that_hangs_does_not_stop_the_event_loop() -> None:
    """While one blob waits, messages and other blobs pass; then it is sent."""
    hang, stored = threading.Event(), blob(CHUNK_BYTES, "b")
    opened: list[str] = []

    class Hanging(Shelf):
        def open_blob(self, digest: str) -> Any:  # noqa: ANN401 - a source of the test
            opened.append(threading.current_thread().name)
            if digest == stored.digest:
                assert hang.wait(10)
            return super().open_blob(digest)

    quick = blob(CHUNK_BYTES, "c")
    shelf = Hanging({each.digest: each for each in (stored, quick)}, {stored.digest, quick.digest})
    core = Fake()
    node = Node(Identity(name="repository.1", incarnation=1), core, random.Random(1), stored=shelf)
    shell, bus = Shell(node, 1), Recorded()
    serving = asyncio.create_task(shell.serve(bus))  # type: ignore[arg-type]  # enough of a bus
    await until(lambda: core.told == [Connected()])
    for each in (stored, quick):
        want = ChunkRequest(digest=each.digest, serial=1, indices=(0,))
        bus.arriving.put_nowait(link("agent.a", "repository.1", want))
    topic = topic_names.unicast_topic(ROOT, "repository.1", "agent.a")

    def sent() -> list[bytes]:
        packets = [packet for packet in bus.published if packet.topic == topic]
        return [bytes(read_chunk(bytes(packet.payload)).data) for packet in packets]

    await until(lambda: sent() == [bytes(quick.content)])
    hang.set()
    await until(lambda: sent() == [bytes(quick.content), bytes(stored.content)])
    assert {name.partition("_")[0] for name in opened} == {"read"}
    serving.cancel()
    await asyncio.wait([serving])
    shell.close()


async def test_a_chunk_that_cannot_be_read_is_counted() -> None:
    """A damaged blob shows in the node's metrics, and the node goes on."""
    source = Slow(bytes(CHUNK_BYTES), broken=True)
    core = Fake(answer=lambda event: [Serve("e" * 64, source)] if event == Connected() else [])
    node = Node(Identity(name="repository.1", incarnation=1), core, random.Random(1))
    shell, bus = Shell(node, 1), Recorded()
    serving = asyncio.create_task(shell.serve(bus))  # type: ignore[arg-type]  # enough of a bus
    await until(lambda: core.told == [Connected()])
    want = ChunkRequest(digest="e" * 64, serial=1, indices=(0,))
    bus.arriving.put_nowait(link("agent.a", "repository.1", want))
    await until(lambda: shell.counts.get("chunk_unreadable") == 1)
    source.broken = False
    bus.arriving.put_nowait(link("agent.a", "repository.1", want))
    topic = topic_names.unicast_topic(ROOT, "repository.1", "agent.a")
    await until(lambda: topic in {packet.topic for packet in bus.published})
    serving.cancel()
    await asyncio.wait([serving])
    shell.close()
