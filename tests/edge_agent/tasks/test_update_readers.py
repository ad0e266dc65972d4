"""Readers of updates: the nodes that may fetch an update from its agent."""

from pathlib import Path

from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.messages import Receipt
from fedbus_edge_agent import keys
from tests.edge_agent.harness import (
    COLLECTOR,
    CONTROLLER,
    JOB,
    OTHER_COLLECTOR,
    STORED,
    AgentHarness,
    train,
    update_of,
)

DIGEST = blob_ref_of(update_of(1)).digest
OTHER_JOB = "job-2"


def test_an_update_is_served_to_its_collector_alone(tmp_path: Path) -> None:
    """Also after a restart of the agent, until the receipt."""
    AgentHarness(tmp_path).trained()
    restarted = AgentHarness(tmp_path)
    assert restarted.readers == {DIGEST: frozenset({COLLECTOR})}
    restarted.receive(COLLECTOR, STORED)
    assert restarted.readers == {}


def test_a_redirected_update_is_served_to_the_new_collector_alone(harness: AgentHarness) -> None:
    """To it before it is offered there."""
    harness.trained()
    harness.receive(CONTROLLER, train(2, collector=OTHER_COLLECTOR))
    assert harness.asks[keys.TaskReply(JOB, 1)].to == OTHER_COLLECTOR
    assert harness.readers == {DIGEST: frozenset({OTHER_COLLECTOR})}


def test_equal_updates_are_served_to_the_collectors_of_all(tmp_path: Path) -> None:
    """A receipt for one ends it for its own collector; a restarted agent does the same."""
    first = AgentHarness(tmp_path)
    offer = first.trained()
    other = first.trained(train(job=OTHER_JOB, collector=OTHER_COLLECTOR))
    assert other.update.digest == offer.update.digest == DIGEST
    for agent in (first, AgentHarness(tmp_path)):
        assert agent.readers == {DIGEST: frozenset({COLLECTOR, OTHER_COLLECTOR})}
    first.receive(COLLECTOR, STORED)
    first.run_calls()
    assert first.readers == {DIGEST: frozenset({OTHER_COLLECTOR})}
    source = first.served[DIGEST]
    assert bytes(source.read(0, source.size)) == update_of(1)
    first.receive(OTHER_COLLECTOR, Receipt(job=OTHER_JOB, task=1, verdict="stored"))
    assert first.readers == {}
