"""A training task on its way from the controller's message to the offer; nothing happens twice."""

import pytest

from fedbus.core.actions import Introduce
from fedbus.core.events import Local, Ran, Woke
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.messages import Decline, Offer, Receipt, TaskTaken
from fedbus_edge_agent import keys
from fedbus_edge_agent.tasks.commands import ACKNOWLEDGE_SECONDS
from tests.edge_agent.harness import (
    COLLECTOR,
    CONTROLLER,
    JOB,
    SPEC,
    STORED,
    AgentHarness,
    train,
    update_of,
    version,
    weights_of,
)
from tests.sample_key import SampleKey


@pytest.mark.parametrize(("cut", "fetched"), [(0, 1), (1, 2)])
def test_weights_inside_a_task_are_not_fetched(
    harness: AgentHarness, cut: int, fetched: int
) -> None:
    """Unless they are incomplete; the spec is fetched in any case."""
    weights = weights_of(1)
    harness.receive(CONTROLLER, train(inline=weights[cut:]))
    assert len(harness.fetches) == fetched
    harness.deliver_inputs()
    harness.run_calls()
    assert harness.offered().task == 1


def test_a_task_is_accepted_fetched_trained_and_offered(harness: AgentHarness) -> None:
    """Spec, weights and files first; a small update is part of the first offer."""
    harness.receive(CONTROLLER, train())
    harness.wait(ACKNOWLEDGE_SECONDS)
    assert harness.sent_to(CONTROLLER, TaskTaken).task == 1
    members = {fetch.members for fetch in harness.fetches.values()}
    assert (len(harness.fetches), members) == (2, {3})
    harness.deliver_inputs()
    harness.run_calls()
    offer = harness.offered()
    assert (offer.update, offer.base, offer.inline) == (blob_ref_of(update_of(1)), 1, None)
    ask = harness.asks[keys.TaskReply(JOB, 1)]
    assert ask.to == COLLECTOR
    assert isinstance(ask.first, Offer)
    assert ask.first.inline == update_of(1)
    served = harness.served[offer.update.digest]
    assert served.read(0, served.size) == update_of(1)


def test_a_task_that_ends_at_once_is_not_acknowledged(harness: AgentHarness) -> None:
    """Its controller hears from the collector before it would repeat the task."""
    harness.trained()
    harness.receive(COLLECTOR, Receipt(job=JOB, task=1, verdict="stored"))
    assert keys.TaskAcknowledgement(JOB, 1) not in harness.timers
    harness.receive(CONTROLLER, train())  # overtaken on its way
    assert harness.sent_to(CONTROLLER, TaskTaken).task == 1


def test_a_large_update_is_not_part_of_the_offer(harness: AgentHarness) -> None:
    """The collector fetches it."""
    harness.trained(train(inline_up_to=10))
    assert harness.asks[keys.TaskReply(JOB, 1)].first is None


def test_weights_of_another_size_inside_a_task_are_fetched(harness: AgentHarness) -> None:
    """They cannot be those of the version."""
    harness.receive(CONTROLLER, train(inline=weights_of(1)))
    assert [key.digest for key in harness.input_fetches()] == [blob_ref_of(SPEC).digest]
    harness.receive(CONTROLLER, train(2, base=version(2), inline=b"short"))
    harness.deliver_inputs()
    harness.run_calls()
    assert harness.runner.done == [("train", 2, weights_of(2))]


def test_cached_blobs_are_not_fetched_again(harness: AgentHarness) -> None:
    """A model's spec and files stay, and its newest weights."""
    harness.trained()
    harness.receive(CONTROLLER, train(2))
    assert harness.fetches == {}
    harness.run_calls()
    harness.receive(CONTROLLER, train(3, base=version(2)))
    assert [key.digest for key in harness.input_fetches()] == [version(2).weights.digest]
    assert harness.core.facts() is not None


def test_a_repeated_task_is_acknowledged_but_not_begun_again(harness: AgentHarness) -> None:
    """The first acknowledgement may have been lost."""
    harness.receive(CONTROLLER, train())
    fetches = dict(harness.fetches)
    harness.receive(CONTROLLER, train())
    assert harness.sent_to(CONTROLLER, TaskTaken).task == 1
    assert harness.fetches == fetches


def test_a_task_repeated_after_its_offer_is_offered_again_not_trained(
    harness: AgentHarness,
) -> None:
    """Its collector may have been restarted: the same bytes, at once."""
    offer = harness.trained()
    harness.receive(CONTROLLER, train())
    assert harness.sent_to(COLLECTOR, Offer) == offer
    assert harness.runs == []


@pytest.mark.parametrize("verdict", ["stored", "drop"])
def test_an_update_is_removed_after_its_receipt(harness: AgentHarness, verdict: str) -> None:
    """It is no longer offered, served, or on disk."""
    harness.trained()
    assert len(harness.files()) == 1
    harness.receive(COLLECTOR, Receipt(job=JOB, task=1, verdict=verdict))  # type: ignore[arg-type]
    harness.run_calls()
    assert (harness.asks, harness.served, harness.files()) == ({}, {}, [])


def test_an_update_that_its_collector_does_not_know_is_offered_again(harness: AgentHarness) -> None:
    """The collector was restarted, or its round is not open yet."""
    harness.trained()
    harness.receive(COLLECTOR, Receipt(job=JOB, task=1, verdict="unknown"))
    assert harness.last == []
    assert harness.offered().task == 1
    assert len(harness.files()) == 1


def test_a_task_repeated_after_its_receipt_is_declined(harness: AgentHarness) -> None:
    """A collector that lost its state must not wait for another update."""
    harness.trained()
    harness.receive(COLLECTOR, STORED)
    harness.run_calls()
    harness.receive(CONTROLLER, train())
    assert harness.sent_to(COLLECTOR, Decline).reason == "its update was already dealt with"
    assert harness.runs == []
    assert harness.asks == {}


def test_a_change_of_the_running_task_is_published_after_a_second(harness: AgentHarness) -> None:
    """Not if the task has ended by then."""
    assert harness.running_task() == ""
    harness.receive(CONTROLLER, train())
    harness.wait(1.0)
    assert harness.last == [Introduce()]
    assert harness.running_task() == f"train {JOB} 1"
    assert harness.core.progress() == 0.0
    harness.deliver_inputs()
    harness.run_calls()
    harness.receive(CONTROLLER, train(2))
    harness.receive(CONTROLLER, train(1, job="job-2"))
    assert harness.core.progress() == 0.0
    assert harness.running_task() == f"train {JOB} 2"
    harness.wait(1.0)
    assert harness.last == []


def test_late_and_unknown_events_change_nothing(harness: AgentHarness) -> None:
    """Timers, runs and messages that belong to nothing."""
    harness.trained()
    assert harness.handle(Woke(keys.TaskInputRetry(keys.TrainingWork(JOB, 1)))) == []
    assert harness.handle(Woke(SampleKey("else"))) == []
    assert harness.handle(Ran(keys.UpdateRemoval(JOB, 1), None)) == []
    assert harness.handle(Woke(keys.UpdateRemovalRetry(JOB, 1))) == []
    assert harness.handle(Local(object())) == []
    assert harness.receive(COLLECTOR, object()) == []


def test_a_result_of_unknown_work_is_ignored(harness: AgentHarness) -> None:
    """The training thread was idle."""
    assert harness.handle(Ran(keys.TrainingWork(JOB, 7), None)) == []
