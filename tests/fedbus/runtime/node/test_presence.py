"""Presence of a node: its state, its heartbeats, its subscriptions."""

from random import Random

from fedbus.core.actions import (
    AnnounceEncryptionKey,
    AnnounceNoiseKey,
    Introduce,
    Note,
    Trouble,
)
from fedbus.core.events import Connected, Stopping
from fedbus.mqtt.bus import Packet
from fedbus.runtime.effects import Effect, Publish
from fedbus.runtime.identity import Identity
from fedbus.runtime.name_conflict import SETTLED_SECONDS
from fedbus.runtime.node import Node
from fedbus.runtime.presence import HEARTBEATS_PER_STATE
from fedbus.wire import codec, topics
from fedbus.wire.documents import Heartbeat, NodeState
from fedbus.wire.topics import ROOT
from tests.fedbus.runtime.node.harness import FACTS, Fake, a_node, act


def test_a_node_publishes_its_state_whenever_it_connects() -> None:
    """Its state, retained; a heartbeat; then the core's own messages."""
    core = Fake(known=FACTS)
    node = a_node(core, version="1.2")
    node.connected(10.0)
    state, beat = [effect.packet for effect in node.take_effects() if isinstance(effect, Publish)]
    assert state.topic == f"{ROOT}/nodes/agent.a/state"
    assert state.retain
    assert state.content_type == "application/json"
    assert codec.from_json(NodeState, state.payload) == NodeState(
        node="agent.a", incarnation=3, online=True, version="1.2", agent=FACTS
    )
    assert beat.topic == f"{ROOT}/nodes/agent.a/heartbeat"
    assert codec.unpack(Heartbeat, beat.payload).progress == 0.25
    assert core.told == [Connected()]
    assert node.next_wake() == 15.0
    assert node.progress() == 0.25


def test_a_node_publishes_heartbeats_and_its_state_from_time_to_time() -> None:
    """In case the controller missed it; `vitals` are measured at each heartbeat."""
    measured = iter(range(100))
    node = Node(
        Identity(name="agent.a", incarnation=3, heartbeat_seconds=2.0),
        Fake(),
        Random(1),
        vitals=lambda: (float(next(measured)), 50.0),
    )
    node.connected(0.0)
    for _ in range(HEARTBEATS_PER_STATE - 1):
        at = node.next_wake()
        assert at is not None
        node.tick(at)
    packets = [effect.packet for effect in node.take_effects() if isinstance(effect, Publish)]
    beats = [codec.unpack(Heartbeat, p.payload) for p in packets if p.topic.endswith("/heartbeat")]
    assert [beat.load for beat in beats] == [float(n) for n in range(HEARTBEATS_PER_STATE)]
    assert [p.topic.endswith("/state") for p in packets].count(True) == 2


def test_the_will_and_a_stopping_node_publish_an_offline_state() -> None:
    """Without its facts: they are those of a node that is there."""
    core = Fake(known=FACTS)
    node = a_node(core)
    will = node.will_packet()
    assert will.retain
    state = codec.from_json(NodeState, will.payload)
    assert (state.online, state.agent) == (False, None)
    node.stopping(5.0)
    assert core.told == [Stopping()]
    assert node.take_effects() == [Publish(will)]


def test_a_core_may_publish_its_state_again() -> None:
    """Its facts have changed."""
    core = Fake()
    node = a_node(core)
    core.known = FACTS
    [introduced] = act(node, core, Introduce())
    assert isinstance(introduced, Publish)
    assert codec.from_json(NodeState, introduced.packet.payload).agent == FACTS


def test_a_node_subscribes_to_its_mail_and_to_what_its_core_reads() -> None:
    """Requests for inference go to one replica of all."""
    node = a_node(Fake((topics.MODEL_LATEST, topics.INFERENCE)), "inference.1")
    assert node.subscriptions() == [
        f"{ROOT}/link/+/inference.1/+",
        f"{ROOT}/models/+/latest",
        f"$share/inference/{ROOT}/inference/+/request",
        f"{ROOT}/nodes/inference.1/state",
    ]


def own_word(incarnation: int) -> Packet:
    """What is retained under the node's own name."""
    state = NodeState(node="agent.a", incarnation=incarnation, online=True)
    return Packet(f"{ROOT}/nodes/agent.a/state", codec.to_json(state), retain=True)


def test_a_node_that_detects_another_of_its_name_reports_it() -> None:
    """In its log and, at once, in its own state, where people look; its core hears nothing of it.

    The other process reads it there, which ends an endless exchange between the two.
    """
    core = Fake()
    node = a_node(core)
    node.connected(0.0)
    node.receive(own_word(3), 0.5)
    core.told.clear()
    node.take_effects()
    node.receive(own_word(4), 1.0)  # ours is 3: it began later
    note, introduced = node.take_effects()
    assert isinstance(note, Note)
    assert note.event == "name_used_twice"
    assert core.told == []
    assert isinstance(introduced, Publish)
    assert "another process" in codec.from_json(NodeState, introduced.packet.payload).trouble
    node.receive(own_word(5), 2.0)
    assert [type(effect) for effect in node.take_effects()] == [
        Note
    ]  # or two processes would answer each other without end


def test_a_node_clears_its_trouble_after_a_long_silence() -> None:
    """A connection may last for months: the search for a second process must end."""
    node = a_node()
    node.connected(0.0)
    node.receive(own_word(3), 0.5)
    node.receive(own_word(4), 1.0)
    said: list[str] = []
    while (wake := node.next_wake()) is not None and wake < SETTLED_SECONDS + 60:
        node.take_effects()
        node.tick(wake)
        states = [
            e.packet for e in published(node.take_effects()) if e.packet.topic.endswith("/state")
        ]
        said += [codec.from_json(NodeState, packet.payload).trouble for packet in states]
    assert said[0]
    assert said[-1] == node.conflict.trouble == ""


def test_a_controller_receives_its_own_state_like_any_other() -> None:
    """It follows all states, its own too."""
    core = Fake((topics.NODE_STATE,))
    node = a_node(core, "agent.a")
    node.receive(own_word(3), 0.0)
    assert len(core.told) == 1


def test_a_node_publishes_what_prevents_its_work() -> None:
    """At once, and that it is over; its broker's lacks stand beside it."""
    core = Fake()
    node = a_node(core)
    node.connected(0.0, ("no shares",))
    node.take_effects()
    for sentence, said in (("a disk is full", "a disk is full; no shares"), ("", "no shares")):
        [introduced] = act(node, core, Trouble(sentence))
        assert isinstance(introduced, Publish)
        assert codec.from_json(NodeState, introduced.packet.payload).trouble == said


def test_a_node_publishes_the_noise_key_that_it_has() -> None:
    """A key that is announced already is not published again; the last will has none."""
    core = Fake()
    node = a_node(core)
    node.connected(0.0)
    node.take_effects()
    for digest in ("a" * 64, "b" * 64, None):
        [introduced] = act(node, core, AnnounceNoiseKey(digest))
        assert isinstance(introduced, Publish)
        assert codec.from_json(NodeState, introduced.packet.payload).noise_key == digest
        assert codec.from_json(NodeState, node.will_packet().payload).noise_key is None
        assert act(node, core, AnnounceNoiseKey(digest)) == []


def test_a_node_publishes_the_encryption_key_that_it_has() -> None:
    """A controller asks no agent that cannot read the base, and publishes it once."""
    core = Fake()
    node = a_node(core)
    node.connected(0.0)
    node.take_effects()
    [introduced] = act(node, core, AnnounceEncryptionKey("a" * 64))
    assert isinstance(introduced, Publish)
    assert codec.from_json(NodeState, introduced.packet.payload).encryption_key == "a" * 64
    assert codec.from_json(NodeState, node.will_packet().payload).encryption_key is None
    assert act(node, core, AnnounceEncryptionKey("a" * 64)) == []


def test_a_node_publishes_what_its_broker_lacks() -> None:
    """On the connection that lacks it."""
    node = a_node()
    node.connected(0.0, ("no shares",))
    assert any(b'"trouble":"no shares"' in e.packet.payload for e in published(node.take_effects()))
    node.connected(1.0)
    assert not any(b"no shares" in e.packet.payload for e in published(node.take_effects()))


def published(effects: list[Effect]) -> list[Publish]:
    """Those of the effects that are packets."""
    return [effect for effect in effects if isinstance(effect, Publish)]
