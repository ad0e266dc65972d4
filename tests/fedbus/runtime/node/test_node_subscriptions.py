"""Topics that a core follows for a while: subscribed, kept over connections, ended."""

from fedbus.core.actions import Follow, Unfollow
from fedbus.core.events import Received
from fedbus.mqtt.bus import Packet
from fedbus.runtime.effects import Subscribe, Unsubscribe
from fedbus.wire import codec, topics
from fedbus.wire.documents import NodeIdentity
from fedbus.wire.topics import ROOT
from tests.fedbus.runtime.node.harness import Fake, a_node, act

B = {"node": "agent.b"}
TOPIC = f"{ROOT}/nodes/agent.b/identity"


def test_a_followed_topic_is_subscribed_to_at_once_and_on_every_connection() -> None:
    """Followed again, it is subscribed to again, since what is retained may have been lost."""
    core = Fake()
    node = a_node(core)
    assert TOPIC not in node.subscriptions()
    follow = Follow(topics.NODE_IDENTITY, B)
    assert act(node, core, follow) == [Subscribe(TOPIC)]
    assert act(node, core, follow) == [Subscribe(TOPIC)]
    assert node.subscriptions().count(TOPIC) == 1


def test_a_topic_that_is_no_longer_followed_is_left_once() -> None:
    """What was never followed is not left."""
    core = Fake()
    node = a_node(core)
    unfollow = Unfollow(topics.NODE_IDENTITY, B)
    assert act(node, core, unfollow) == []
    act(node, core, Follow(topics.NODE_IDENTITY, B))
    assert act(node, core, unfollow) == [Unsubscribe(TOPIC)]
    assert act(node, core, unfollow) == []
    assert TOPIC not in node.subscriptions()


def test_what_arrives_on_a_followed_topic_reaches_the_core() -> None:
    """With the node that the topic names as its sender."""
    core = Fake()
    node = a_node(core)
    identity = NodeIdentity(node="agent.b", key="ab" * 32)
    node.receive(Packet(TOPIC, codec.to_json(identity), retain=True), 1.0)
    assert core.told == [Received("agent.b", identity)]
