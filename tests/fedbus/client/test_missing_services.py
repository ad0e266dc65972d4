"""What a watched job waits for outside of itself."""

from fedbus.client.missing_services import Awaited
from fedbus.wire.documents import NodeState


def node(name: str, *, online: bool = True) -> NodeState:
    """What a node, or its last will, says."""
    return NodeState(node=name, incarnation=1, online=online)


def all_there() -> Awaited:
    """All that a job needs."""
    awaited = Awaited()
    for name in ("controller.1", "repository.1", "collector.1", "agent.1", "inference.1"):
        awaited.hear(node(name))
    return awaited


def test_nothing_is_awaited_while_all_are_there() -> None:
    """Whoever else comes and goes."""
    awaited = all_there()
    awaited.hear(node("agent.1", online=False))
    awaited.hear(node("inference.1", online=False))
    assert awaited.line == ""


def test_each_service_that_is_away_is_named() -> None:
    """A standby is as good as its leader."""
    awaited = all_there()
    awaited.hear(node("controller.2"))
    awaited.hear(node("controller.1", online=False))
    assert awaited.line == ""
    awaited.hear(node("controller.2", online=False))
    assert awaited.line == "a controller: controller.1, controller.2 are offline"
    awaited.hear(node("repository.1", online=False))
    assert awaited.line.endswith("; a repository: repository.1 is offline")


def test_a_lost_broker_tells_nothing_of_the_others() -> None:
    """Until it is back, and tells anew who is there."""
    awaited = all_there()
    awaited.lost("h:1: connection lost")
    assert awaited.line == "the broker: h:1: connection lost"
    awaited.connected()
    assert "a controller: none has ever been online" in awaited.line
    awaited.hear(node("controller.1"))
    assert awaited.line.startswith("a repository: ")
