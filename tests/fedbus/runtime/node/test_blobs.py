"""Blobs cross the bus between nodes, and no core hears of how."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest

from fedbus.blobs.transfer.chunk import read_chunk
from fedbus.core.actions import Action, Cancel, Note, Serve, Unserve
from fedbus.core.events import Connected, Event, Fetched, FetchFailed
from fedbus.errors import StoreError
from fedbus.lent_memory import is_lent
from fedbus.mqtt.memory_broker import MemoryBroker
from fedbus.runtime.effects import (
    Effect,
    Publish,
    PublishChunk,
    StartRun,
    Subscribe,
    Unsubscribe,
)
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.wire.blobs import CHUNK_BYTES
from fedbus.wire.messages import BlobNotFound, ChunkRequest, Confirm, Join, Leave, UseUnicast
from fedbus.wire.topics import ROOT
from tests.fedbus.blobs.transfer.simulation import MemorySink, Shelf, blob
from tests.fedbus.runtime.node.harness import FACTS, MODEL, Fake, a_node, act, fetch, link, messages
from tests.sample_key import SampleKey

if TYPE_CHECKING:
    from fedbus.mqtt.bus import Packet


def test_a_served_blob_is_read_when_its_chunk_has_its_turn() -> None:
    """Not before, so that a long queue holds no data; the last slice is shorter."""
    core = Fake()
    node = a_node(core, "repository.1")
    odd = blob(CHUNK_BYTES + 10)
    act(node, core, Serve(odd.digest, odd))
    want = ChunkRequest(digest=odd.digest, serial=5, indices=(1,))
    node.receive(link("agent.a", "repository.1", want), 0.0)
    [effect] = node.take_effects()
    assert isinstance(effect, PublishChunk)
    packet = effect.packet()
    assert packet.topic == f"{ROOT}/link/repository.1/agent.a/chunk"
    chunk = read_chunk(packet.payload)
    assert (chunk.serial, chunk.index, chunk.data) == (5, 1, odd.read(CHUNK_BYTES, 10))
    act(node, core, Unserve(odd.digest))
    node.receive(link("agent.a", "repository.1", want), 0.0)
    assert messages(node.take_effects()) == [BlobNotFound(digest=odd.digest)]


def test_a_stored_blob_is_opened_in_a_thread_and_then_served() -> None:
    """The core hears nothing of it; what the store says of a fault is logged and counted."""
    core = Fake()
    shelf = Shelf({MODEL.digest: MODEL}, {MODEL.digest})
    node = a_node(core, "repository.1", stored=shelf)
    want = ChunkRequest(digest=MODEL.digest, serial=5, indices=(1,))
    node.receive(link("agent.a", "repository.1", want), 0.0)
    [run] = node.take_effects()
    assert isinstance(run, StartRun)
    assert run.reads
    node.run_failed(run.key, StoreError("the database is away"), 0.0)
    reason = "StoreError: the database is away"
    assert node.take_effects() == [
        Note("blob_not_opened", {"digest": MODEL.digest, "reason": reason})
    ]
    node.receive(link("agent.a", "repository.1", want), 1.0)
    [run] = node.take_effects()
    assert isinstance(run, StartRun)
    node.ran(run.key, run.call(), 1.0)
    [effect] = node.take_effects()
    assert isinstance(effect, PublishChunk)
    assert effect.packet() == effect.packet_now()
    assert core.told == []


def test_a_blob_is_sent_to_its_readers_alone() -> None:
    """The name in the topic counts, which the broker lets no other node use."""
    core = Fake()
    node = a_node(core, "agent.a")
    act(node, core, Serve(MODEL.digest, MODEL, frozenset({"collector.1"})))
    want = ChunkRequest(digest=MODEL.digest, serial=5, indices=(0,))
    node.receive(link("repository.1", "agent.a", want), 0.0)
    assert messages(node.take_effects()) == [BlobNotFound(digest=MODEL.digest)]
    node.receive(link("collector.1", "agent.a", want), 0.0)
    [effect] = node.take_effects()
    assert isinstance(effect, PublishChunk)
    assert effect.packet().topic == f"{ROOT}/link/agent.a/collector.1/chunk"


def test_the_words_of_a_transfer_are_the_nodes_business() -> None:
    """No core receives chunk requests and joins."""
    core = Fake()
    node = a_node(core, "repository.1")
    d = MODEL.digest
    act(node, core, Serve(d, MODEL))
    core.told.clear()
    for message in (
        Join(digest=d, members=1),
        Confirm(digest=d, upto=3),
        Leave(digest=d),
        UseUnicast(digest=d),
        BlobNotFound(digest=d),
    ):
        sender = "agent.b"
        node.receive(link(sender, "repository.1", message), 0.0)
    streamed = [effect.topic for effect in node.take_effects() if isinstance(effect, PublishChunk)]
    assert streamed == [f"{ROOT}/blobs/repository.1/{d}"] * 3
    assert core.told == []


def test_a_new_connection_ends_the_multicasts_that_are_served() -> None:
    """Their members are told to use unicast."""
    core = Fake()
    node = a_node(core, "repository.1")
    act(node, core, Serve(MODEL.digest, MODEL))
    node.receive(link("agent.b", "repository.1", Join(digest=MODEL.digest, members=2)), 0.0)
    node.take_effects()
    node.connected(1.0)
    assert messages(node.take_effects()) == [UseUnicast(digest=MODEL.digest)]


def test_two_downloads_of_one_multicast_share_a_subscription() -> None:
    """The last to leave unsubscribes, and a new connection has none."""
    core = Fake()
    node = a_node(core)
    topic = f"{ROOT}/blobs/repository.1/{MODEL.digest}"

    def followed(*actions: Action) -> list[Effect]:
        effects = act(node, core, *actions)
        return [e for e in effects if isinstance(e, Subscribe | Unsubscribe)]

    assert followed(fetch(SampleKey("a"), 2)) == [Subscribe(topic)]
    assert followed(fetch(SampleKey("b"), 2)) == []
    assert followed(Cancel(SampleKey("a"))) == []
    assert followed(Cancel(SampleKey("b"))) == [Unsubscribe(topic)]
    assert followed(fetch(SampleKey("c"), 2)) == [Subscribe(topic)]
    node.connected(1.0)
    effects = node.take_effects()
    assert not [e for e in effects if isinstance(e, Subscribe | Unsubscribe)]
    assert [type(m) for m in messages(effects)] == [ChunkRequest]


def test_a_failed_download_becomes_an_event() -> None:
    """At once if the source says so, after a minute if it says nothing."""
    core = Fake()
    node = a_node(core)
    act(node, core, fetch(SampleKey("a"), 0))
    core.told.clear()
    node.receive(link("repository.1", "agent.a", BlobNotFound(digest=MODEL.digest)), 0.0)
    assert core.told == [FetchFailed(SampleKey("a"), "repository.1 does not hold aaaaaaaaaaaa")]
    act(node, core, fetch(SampleKey("a"), 0))
    core.told.clear()
    while (at := node.next_wake()) is not None:
        node.tick(at)
    assert core.told == [FetchFailed(SampleKey("a"), "no chunk from repository.1 for a minute")]


def test_serials_of_two_incarnations_differ() -> None:
    """A chunk for an earlier process matches no request of this one."""
    firsts = set()
    for incarnation in range(20):
        core = Fake()
        node = Node(Identity(name="agent.a", incarnation=incarnation), core, Random(incarnation))
        [request] = messages(act(node, core, fetch(SampleKey("a"), 0)))
        assert isinstance(request, ChunkRequest)
        firsts.add(request.serial)
    assert len(firsts) == 20


class NodesOnBroker:
    """Nodes on one broker in memory, everything delivered at once and in order."""

    def __init__(self) -> None:
        self.queue: list[tuple[str, Packet]] = []
        self.broker = MemoryBroker(lambda name, packet: self.queue.append((name, packet)))
        self.nodes: dict[str, Node] = {}
        self.cores: dict[str, Fake] = {}
        self.chunks: list[str] = []

    def add(self, name: str, answer: Callable[[Event], list[Action]] = lambda _: []) -> Fake:
        core = self.cores[name] = Fake(answer=answer)
        node = self.nodes[name] = a_node(core, name)
        self.broker.connect(name, node.subscriptions(), node.will_packet())
        node.connected(0.0)
        return core

    def perform(self, now: float) -> None:
        for name, node in self.nodes.items():
            for effect in node.take_effects():
                match effect:
                    case Publish(packet):
                        self.broker.publish(name, packet)
                    case PublishChunk(topic):
                        self.chunks.append(topic)
                        self.broker.publish(name, effect.packet())
                    case Subscribe(topic):
                        self.broker.subscribe(name, topic)
                    case Unsubscribe(topic):
                        self.broker.unsubscribe(name, topic)
                    case _:
                        pytest.fail(f"{name}: {effect}")
        while self.queue:
            name, packet = self.queue.pop(0)
            memory = bytearray(packet.payload)
            lent = replace(packet, payload=memoryview(memory))  # type: ignore[arg-type]  # lent
            self.nodes[name].receive(lent, now)
            lent.release()
            assert not is_lent(memory), f"{name} keeps a view of {packet.topic}"

    def run(self, seconds: float) -> None:
        for step in range(int(seconds * 100)):
            for node in self.nodes.values():
                node.tick(step / 100)
            for _ in range(9):
                self.perform(step / 100)


@pytest.mark.parametrize("members", [0, 3], ids=["unicast", "multicast"])
def test_blobs_cross_a_broker_with_its_rules_on(members: int) -> None:
    """Real packets and topics: three agents have the model, and no node broke an access rule."""
    nodes = NodesOnBroker()
    nodes.add("repository.1", lambda e: [Serve(MODEL.digest, MODEL)] * isinstance(e, Connected))
    for name in ("agent.a", "agent.b", "agent.c"):
        base = fetch(SampleKey("base"), members)
        core = nodes.add(name, lambda e, base=base: [base] * isinstance(e, Connected))  # type: ignore[misc]
        core.known = FACTS
    nodes.run(0.5)
    for name in ("agent.a", "agent.b", "agent.c"):
        [done] = [event for event in nodes.cores[name].told if isinstance(event, Fetched)]
        assert isinstance(done.sink, MemorySink)
        assert done.sink.content == MODEL.content
    assert len(nodes.chunks) == (3 if members else 9)
    assert nodes.broker.violations == []
