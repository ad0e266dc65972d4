"""Broker in memory: it treats packets as a real broker does, access rules included."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.limits import MAX_MESSAGE_BYTES
from fedbus.mqtt.bus import Packet
from fedbus.mqtt.memory_broker import MOST_KEPT, MemoryBroker
from fedbus.wire import topic_names, topics

ROOT = topics.ROOT
OFFER = f"{ROOT}/link/agent.a/collector.1/offer"
STATE = f"{ROOT}/nodes/agent.a/state"
STATES = f"{ROOT}/nodes/+/state"
ASK = f"{ROOT}/inference/digits/request"
SHARED = f"$share/inference/{ROOT}/inference/+/request"


class RecordedBroker:
    """A broker with a record of its deliveries."""

    def __init__(self) -> None:
        self.deliveries: list[tuple[str, Packet]] = []
        self.broker = MemoryBroker(lambda name, packet: self.deliveries.append((name, packet)))

    def take_receivers(self) -> list[str]:
        """Return the receivers of the recorded deliveries, and clear the record."""
        names = [name for name, _ in self.deliveries]
        self.deliveries.clear()
        return names


@pytest.fixture
def recorded() -> RecordedBroker:
    """A collector that reads its messages, and two controllers that follow all nodes' states."""
    broker = RecordedBroker()
    broker.broker.connect("collector.1", [f"{ROOT}/link/+/collector.1/+"])
    broker.broker.connect("controller.1", [STATES])
    broker.broker.connect("controller.2", [STATES])
    broker.broker.connect("agent.a", [], Packet(STATE, b"gone"))
    return broker


def test_a_packet_goes_to_all_who_follow_its_topic(recorded: RecordedBroker) -> None:
    """In the order of connecting, as it is, and to no other session."""
    packet = Packet(STATE, b"here", content_type="application/json", expiry=3)
    recorded.broker.publish("agent.a", packet)
    assert recorded.deliveries == [("controller.1", packet), ("controller.2", packet)]
    recorded.take_receivers()
    recorded.broker.publish("agent.a", Packet(OFFER, b""))
    assert recorded.take_receivers() == ["collector.1"]


def test_overlapping_subscriptions_deliver_once(recorded: RecordedBroker) -> None:
    """As they do without MQTT 5's subscription identifiers."""
    recorded.broker.subscribe("collector.1", OFFER)
    recorded.broker.publish("agent.a", Packet(OFFER, b""))
    assert recorded.take_receivers() == ["collector.1"]


def test_who_unsubscribes_hears_no_more(recorded: RecordedBroker) -> None:
    """At once; to unsubscribe twice is no mistake."""
    recorded.broker.publish("agent.a", Packet(STATE, b"here"))
    for _ in range(2):
        recorded.broker.unsubscribe("controller.1", STATES)
    recorded.take_receivers()
    recorded.broker.publish("agent.a", Packet(STATE, b"here"))
    assert recorded.take_receivers() == ["controller.2"]


def test_retained_packets_are_delivered_to_later_subscribers(recorded: RecordedBroker) -> None:
    """The newest of each topic, marked as retained; those who were there got it as news."""
    for payload in (b"old", b"new"):
        recorded.broker.publish("agent.a", Packet(STATE, payload, retain=True))
    assert {packet.retain for _, packet in recorded.deliveries} == {False}
    recorded.take_receivers()
    recorded.broker.connect("controller.3", [STATES])
    recorded.broker.subscribe("collector.1", OFFER)
    assert recorded.deliveries == [("controller.3", Packet(STATE, b"new", retain=True))]


def test_an_empty_payload_clears_what_is_retained(recorded: RecordedBroker) -> None:
    """Those who listen are told; those who come later are told nothing."""
    recorded.broker.publish("agent.a", Packet(STATE, b"here", retain=True))
    recorded.take_receivers()
    recorded.broker.publish("agent.a", Packet(STATE, b"", retain=True))
    assert recorded.take_receivers() == ["controller.1", "controller.2"]
    recorded.broker.connect("controller.3", [STATES])
    assert recorded.take_receivers() == []


def test_a_share_gives_each_packet_to_one_in_turn(recorded: RecordedBroker) -> None:
    """And tells a newcomer of no retained one."""
    for name in ("inference.1", "inference.2", "inference.3"):
        recorded.broker.connect(name, [SHARED])
    recorded.broker.connect("user.cli", [])
    for _ in range(5):
        recorded.broker.publish("user.cli", Packet(ASK, b"", retain=True))
    assert recorded.take_receivers() == [f"inference.{n}" for n in (1, 2, 3, 1, 2)]
    recorded.broker.disconnect("inference.3")
    recorded.broker.publish("user.cli", Packet(ASK, b""))
    assert len(recorded.take_receivers()) == 1
    recorded.broker.connect("inference.3", [SHARED])
    assert recorded.take_receivers() == []


@pytest.mark.parametrize("clean", [True, False])
def test_a_broken_connection_publishes_its_will(recorded: RecordedBroker, clean: bool) -> None:
    """Once, and retained; who leaves on purpose has said what there is to say."""
    for _ in range(2):
        recorded.broker.disconnect("agent.a", clean=clean)
    assert recorded.take_receivers() == ([] if clean else ["controller.1", "controller.2"])
    recorded.broker.connect("controller.3", [STATES])
    assert recorded.take_receivers() == ([] if clean else ["controller.3"])


def test_a_second_connection_of_a_name_ends_the_first_without_its_will(
    recorded: RecordedBroker,
) -> None:
    """With its subscriptions."""
    recorded.broker.connect("controller.1", [])
    recorded.broker.connect("agent.a", [])
    recorded.broker.publish("agent.a", Packet(STATE, b"here"))
    assert recorded.take_receivers() == ["controller.2"]
    recorded.broker.disconnect("agent.a", clean=False)
    assert recorded.take_receivers() == []


def test_a_restarted_broker_has_no_sessions_and_no_retained_packets(
    recorded: RecordedBroker,
) -> None:
    """No session, nothing retained, no will is sent."""
    recorded.broker.publish("agent.a", Packet(STATE, b"here", retain=True))
    recorded.take_receivers()
    recorded.broker.restart()
    recorded.broker.disconnect("agent.a", clean=False)
    recorded.broker.connect("controller.1", [STATES])
    assert recorded.take_receivers() == []
    recorded.broker.connect("agent.a", [])
    recorded.broker.publish("agent.a", Packet(STATE, b"here"))
    assert recorded.take_receivers() == ["controller.1"]


def test_what_a_node_may_not_write_is_dropped_and_remembered(recorded: RecordedBroker) -> None:
    """Another's name, another role's topic, the broker's own; its will is no exception."""
    for topic in (
        f"{ROOT}/link/agent.b/collector.1/offer",
        f"{ROOT}/jobs/j/state",
        "$CONTROL/dynamic-security/v1",
    ):
        recorded.broker.publish("agent.a", Packet(topic, b"x", retain=True))
        assert recorded.broker.violations.pop() == ("agent.a", "write", topic)
    recorded.broker.connect("agent.b", [], Packet(STATE, b"gone"))
    recorded.broker.disconnect("agent.b", clean=False)
    assert recorded.broker.violations == [("agent.b", "write", STATE)]
    recorded.broker.connect("user.cli", [f"{ROOT}/jobs/+/state"])
    assert recorded.take_receivers() == []


def test_what_a_node_may_not_read_is_not_delivered(recorded: RecordedBroker) -> None:
    """It may subscribe to anything, as on the real one; that is no authorisation."""
    recorded.broker.connect("agent.b", [f"{ROOT}/#"])
    recorded.broker.publish("agent.a", Packet(OFFER, b""))
    assert recorded.take_receivers() == ["collector.1"]
    assert recorded.broker.violations == [("agent.b", "read", OFFER)]


def test_what_is_too_large_is_dropped_and_remembered(recorded: RecordedBroker) -> None:
    """The real one would end the connection."""
    recorded.broker.publish("agent.a", Packet(OFFER, bytes(MAX_MESSAGE_BYTES)))
    assert recorded.take_receivers() == ["collector.1"]
    recorded.broker.publish("agent.a", Packet(OFFER, bytes(MAX_MESSAGE_BYTES + 1)))
    assert recorded.take_receivers() == []
    assert recorded.broker.violations == [
        ("agent.a", "write", f"{OFFER}: 1048577 bytes, at most 1048576")
    ]


def test_a_receiver_may_publish_while_it_receives() -> None:
    """And subscribe, and leave: the delivery that is going on goes on."""
    heard: list[str] = []

    def deliver(name: str, packet: Packet) -> None:
        heard.append(f"{name} {packet.topic.rpartition('/')[2]}")
        if name == "controller.1":
            broker.disconnect("controller.2")
            broker.publish("controller.1", Packet(f"{ROOT}/nodes/controller.1/heartbeat", b""))

    broker = MemoryBroker(deliver)
    for n in (1, 2, 3):
        broker.connect(f"controller.{n}", [STATES])
    broker.subscribe("controller.3", f"{ROOT}/nodes/+/heartbeat")
    broker.connect("agent.a", [])
    broker.publish("agent.a", Packet(STATE, b""))
    assert heard[:2] == ["controller.1 state", "controller.3 heartbeat"]
    assert "controller.3 state" in heard


NAMES = ["agent.a", "agent.b", "controller.1"]
LEVELS = st.sampled_from(["a", "b", "+", "#"])
FILTERS = st.lists(LEVELS, min_size=1, max_size=3).map("/".join)
TOPICS = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=3).map("/".join)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["subscribe", "unsubscribe", "publish"]),
            st.sampled_from(NAMES),
            FILTERS,
            TOPICS,
        ),
        max_size=30,
    )
)
def test_routes_are_those_of_a_search_through_all_subscriptions(
    steps: list[tuple[str, str, str, str]],
) -> None:
    """They are kept from one packet to the next, and never too long."""
    heard: list[str] = []
    broker = MemoryBroker(lambda name, _: heard.append(name), root="x")
    prefix = "x/link/agent.a"
    following: dict[str, set[str]] = {name: set() for name in NAMES}
    for name in NAMES:
        broker.connect(name, [])
    for deed, name, pattern, topic in steps:
        if deed == "publish":
            heard.clear()
            broker.violations.clear()
            broker.publish("agent.a", Packet(f"{prefix}/{topic}", b""))
            expected = [
                n
                for n in NAMES
                if any(topic_names.matches(p, f"{prefix}/{topic}") for p in following[n])
            ]
            dropped = [n for n, _, _ in broker.violations]
            assert sorted(heard + dropped) == sorted(expected)
        elif deed == "subscribe":
            broker.subscribe(name, f"{prefix}/{pattern}")
            following[name].add(f"{prefix}/{pattern}")
        else:
            broker.unsubscribe(name, f"{prefix}/{pattern}")
            following[name].discard(f"{prefix}/{pattern}")


def test_routes_are_those_of_a_walk_over_all_that_is_followed() -> None:
    """Found by how filters begin, and kept until a session starts or stops following the topic."""
    rng = Random(5)
    filters = ["a", "a/b", "a/+", "a/#", "+/b", "#", "b/+/c", "$share/g/a/+", "$share/g/#"]
    names = ["a", "a/b", "a/b/c", "b/x/c", "b", "$own/a"]
    heard: list[str] = []
    broker = MemoryBroker(lambda name, _: heard.append(name))
    broker._may = lambda *_: True  # type: ignore[method-assign] # noqa: SLF001 - routes, not rules
    followed: dict[str, set[str]] = {}
    for _ in range(600):
        who, named = f"n{rng.randrange(4)}", rng.choice(filters)
        match rng.choice(("connect", "disconnect", "follow", "follow", "leave")):
            case "connect":
                broker.connect(who, [named])
                followed[who] = {named}
            case "disconnect":
                broker.disconnect(who)
                followed.pop(who, None)
            case "follow" if who in followed:
                broker.subscribe(who, named)
                followed[who].add(named)
            case "leave" if who in followed:
                broker.unsubscribe(who, named)
                followed[who].discard(named)
        topic = rng.choice(names)
        heard.clear()
        broker.publish("n0", Packet(topic, b""))
        plain = {
            n for n, all_ in followed.items() if any(topic_names.matches(f, topic) for f in all_)
        }
        groups = {
            f
            for all_ in followed.values()
            for f in all_
            if f.startswith("$share/") and topic_names.matches(f.split("/", 2)[2], topic)
        }
        assert len(heard) == len(plain) + len(groups)
        assert plain <= set(heard)


SUBMIT = f"{ROOT}/submit"
KEEP = [f"{ROOT}/submit", f"{ROOT}/cancel"]


def test_what_is_kept_comes_again_until_it_is_acknowledged(recorded: RecordedBroker) -> None:
    """With QoS 1, to a session that asked for it, first of all on the next connection."""
    recorded.broker.connect("controller.1", [], keep=KEEP)
    recorded.broker.publish("user.a", Packet(SUBMIT, b"1"), qos=1)
    ((_, first),) = recorded.deliveries
    recorded.broker.disconnect("controller.1")
    recorded.broker.publish("user.a", Packet(SUBMIT, b"2"), qos=1)
    recorded.broker.publish("user.a", Packet(SUBMIT, b"lost: QoS 0"))
    recorded.broker.publish("user.a", Packet(f"{ROOT}/jobs/a/request", b"not asked for"), qos=1)
    recorded.deliveries.clear()
    recorded.broker.connect("controller.1", [], keep=KEEP)
    assert [(p.payload, p.redelivered) for _, p in recorded.deliveries] == [
        (b"1", True),
        (b"2", False),
    ]
    assert not first.redelivered
    assert first.receipt is not None
    recorded.broker.acknowledge("controller.1", first.receipt)
    assert [packet.payload for packet in recorded.broker.waiting("controller.1")] == [b"2"]
    recorded.broker.acknowledge("agent.a", 1)  # it keeps nothing
    recorded.deliveries.clear()
    recorded.broker.publish("user.a", Packet(SUBMIT, b"live"))
    assert recorded.deliveries == [("controller.1", Packet(SUBMIT, b"live"))]


def test_what_is_kept_is_bounded_and_ends_with_a_clean_session(recorded: RecordedBroker) -> None:
    """As Mosquitto does it: what is too much is lost in silence."""
    recorded.broker.connect("controller.1", [], keep=KEEP)
    for number in range(MOST_KEPT + 1):
        recorded.broker.publish("user.a", Packet(SUBMIT, b"%d" % number), qos=1)
    kept = recorded.broker.waiting("controller.1")
    assert [packet.payload for packet in kept] == [b"%d" % n for n in range(MOST_KEPT)]
    recorded.broker.restart(saved=True)
    assert len(recorded.broker.waiting("controller.1")) == MOST_KEPT
    recorded.broker.connect("controller.1", [])
    assert recorded.broker.waiting("controller.1") == []
    recorded.broker.connect("controller.1", [], keep=KEEP)
    recorded.broker.publish("user.a", Packet(SUBMIT, b"x"), qos=1)
    recorded.broker.restart()
    assert recorded.broker.waiting("controller.1") == []
