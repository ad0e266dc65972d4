"""Services that a watched job waits for."""

from fedbus.client.missing_services import MissingServices
from fedbus.wire.documents import NodeState


def node(name: str, *, online: bool = True) -> NodeState:
    """What a node, or its last will, says."""
    return NodeState(node=name, incarnation=1, online=online)


def all_there() -> MissingServices:
    """All that a job needs."""
    describe_missing = MissingServices()
    for name in ("controller.1", "repository.1", "collector.1", "agent.1", "inference.1"):
        describe_missing.hear(node(name))
    return describe_missing


def test_nothing_is_awaited_while_all_are_there() -> None:
    """Other nodes do not matter."""
    describe_missing = all_there()
    describe_missing.hear(node("agent.1", online=False))
    describe_missing.hear(node("inference.1", online=False))
    assert describe_missing.line == ""


def test_each_service_that_is_away_is_named() -> None:
    """A standby is as good as its leader."""
    describe_missing = all_there()
    describe_missing.hear(node("controller.2"))
    describe_missing.hear(node("controller.1", online=False))
    assert describe_missing.line == ""
    describe_missing.hear(node("controller.2", online=False))
    assert describe_missing.line == "a controller: controller.1, controller.2 are offline"
    describe_missing.hear(node("repository.1", online=False))
    assert describe_missing.line.endswith("; a repository: repository.1 is offline")


def test_a_lost_broker_tells_nothing_of_the_others() -> None:
    """Until it is back, and repeats the states of nodes."""
    describe_missing = all_there()
    describe_missing.lost("h:1: connection lost")
    assert describe_missing.line == "the broker: h:1: connection lost"
    describe_missing.connected()
    assert "a controller: none has ever been online" in describe_missing.line
    describe_missing.hear(node("controller.1"))
    assert describe_missing.line.startswith("a repository: ")
