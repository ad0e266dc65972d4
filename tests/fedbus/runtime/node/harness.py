"""Harness of a node without a bus, around a core that a test scripts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from fedbus.core.actions import Action, Fetch
from fedbus.core.blob_io import BlobFinder
from fedbus.core.events import Event
from fedbus.core.keys import Key
from fedbus.mqtt.bus import Packet
from fedbus.runtime.effects import Effect, Publish
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.wire import codec, topic_names
from fedbus.wire.blobs import CHUNK_BYTES, BlobLocation, BlobRef
from fedbus.wire.documents import AgentFacts
from fedbus.wire.messages import Offer, TaskTaken
from fedbus.wire.topics import ROOT, Topic
from tests.fedbus.blobs.transfer.simulation import Blob, MemorySink, blob
from tests.fedbus.wire.kinds import example
from tests.sample_key import SampleKey

MODEL = blob(3 * CHUNK_BYTES)
FACTS = example(AgentFacts)
TASK = TaskTaken(job="digits-1", task=7)
OFFER = example(Offer)


@dataclass
class Fake:
    """A core that remembers what it is told and answers as it is told to."""

    listens: tuple[Topic, ...] = ()
    told: list[Event] = field(default_factory=list)
    answer: Callable[[Event], list[Action]] = lambda _: []
    known: AgentFacts | None = None

    def facts(self) -> AgentFacts | None:
        return self.known

    def progress(self) -> float:
        return 0.25

    def handle(self, event: Event, now: float) -> Iterator[Action]:  # noqa: ARG002 - as cores do
        self.told.append(event)
        yield from self.answer(event)


def a_node(
    core: Fake | None = None,
    name: str = "agent.a",
    stored: BlobFinder | None = None,
    **settings: Any,  # noqa: ANN401 - of an identity
) -> Node:
    """A node without a bus."""
    identity = Identity(name=name, incarnation=3, **settings)
    return Node(identity, core or Fake(), Random(1), stored=stored)


def link(sender: str, to: str, message: object) -> Packet:
    """A message as it arrives."""
    return Packet(topic_names.link_topic(ROOT, sender, to, type(message)), codec.pack(message))


def act(node: Node, core: Fake, *actions: Action, now: float = 0.0) -> list[Effect]:
    """Have the core yield actions; return the effects."""
    core.answer = lambda _: list(actions)
    node.ran(SampleKey("go"), None, now)
    core.answer = lambda _: []
    return node.take_effects()


def messages(effects: list[Effect]) -> list[object]:
    """What is said to other nodes, read again, in order."""
    packets = [effect.packet for effect in effects if isinstance(effect, Publish)]
    return [
        codec.unpack(topic_names.link_of(*packet.topic.split("/")[-3:]).message, packet.payload)
        for packet in packets
        if "/link/" in packet.topic
    ]


def fetch(key: Key, members: int, source: str = "repository.1", wanted: Blob = MODEL) -> Fetch:
    """The wish for a blob."""
    return Fetch(
        key,
        BlobLocation(blob_ref=BlobRef(digest=wanted.digest, size=wanted.size), source=source),
        MemorySink(wanted.size),
        members,
    )
