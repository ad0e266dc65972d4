"""Remarks below the table of `fedbus agents`."""

from dataclasses import replace

from fedbus.cli.output.agent_remarks import remarks
from fedbus.wire.documents import NodeState
from tests.controller.harness import facts


def state(
    name: str, *classes: str, columns: tuple[str, ...] = (), online: bool = True
) -> NodeState:
    """Make an agent with these names."""
    own = facts("train", classes=classes, columns=columns)
    return NodeState(node=f"agent.{name}", incarnation=1, online=online, agent=own)


def test_agents_that_name_classes_differently_are_told_of() -> None:
    """Where a person looks for them; those that are gone or name none do not count."""
    alike = [state("a", "ok", "scrap"), state("b", "ok", "scrap"), state("c")]
    assert list(remarks([*alike, state("d", "scrap", online=False)])) == []
    nameless = state("e", columns=("t",))
    assert list(remarks([*alike, nameless])) == [
        "not checked, as they name no classes: agent.e",
        "not checked, as they name no inputs: agent.a, agent.b",
    ]
    many = [state(str(number), "ok", "scrap") for number in range(8)]
    assert list(remarks([*many, state("z", "scrap")])) == [
        "agents name their classes differently, and a job needs one list:",
        "  ok, scrap: agent.0, agent.1, agent.2, agent.3, agent.4, agent.5 and 2 more",
        "  scrap: agent.z",
    ]
    inputs = [state("a", columns=("t", "p")), state("b", columns=("p", "t"))]
    assert next(remarks(inputs)).startswith("agents name their inputs differently")


def test_an_agent_in_trouble_is_told_of() -> None:
    """With its reason, which no column of the table holds."""
    own = replace(facts("train"), trouble="the data changed and cannot be loaded: x")
    ill = NodeState(node="agent.a", incarnation=1, online=True, agent=own)
    service = NodeState(node="collector.1", incarnation=1, online=True)
    assert list(remarks([ill, service])) == [
        "agent.a takes no tasks: the data changed and cannot be loaded: x"
    ]
