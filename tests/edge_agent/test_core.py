"""What an agent does with its orders: from a task to an offer, and nothing twice."""

import pytest

from fedbus.core.actions import Introduce
from fedbus.core.events import Ran, Woke
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.messages import Decline, Offer, Receipt, TaskTaken
from fedbus_edge_agent import keys
from fedbus_edge_agent.core import ACKNOWLEDGE_SECONDS
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
from tests.keys import SampleKey


@pytest.mark.parametrize(("cut", "fetched"), [(0, 1), (1, 2)])
def test_a_small_base_that_comes_with_its_task_is_not_fetched(
    harness: AgentHarness, cut: int, fetched: int
) -> None:
    """Unless it is not whole; the spec is fetched in any case."""
    weights = weights_of(1)
    harness.hear(CONTROLLER, train(inline=weights[cut:]))
    assert len(harness.fetches) == fetched
    harness.bring()
    harness.work()
    assert harness.offered().task == 1


def test_a_task_is_taken_fetched_trained_and_offered(harness: AgentHarness) -> None:
    """Spec, weights and files first; the update rides along the first time, if it is small."""
    harness.hear(CONTROLLER, train())
    harness.wait(ACKNOWLEDGE_SECONDS)
    assert harness.told(CONTROLLER, TaskTaken).task == 1
    members = {fetch.members for fetch in harness.fetches.values()}
    assert (len(harness.fetches), members) == (2, {3})
    harness.bring()
    harness.work()
    offer = harness.offered()
    assert (offer.update, offer.base, offer.inline) == (blob_ref_of(update_of(1)), 1, None)
    ask = harness.asks[keys.TaskReply(JOB, 1)]
    assert ask.to == COLLECTOR
    assert isinstance(ask.first, Offer)
    assert ask.first.inline == update_of(1)
    served = harness.served[offer.update.digest]
    assert served.read(0, served.size) == update_of(1)


def test_of_a_task_that_is_over_at_once_nothing_is_said(harness: AgentHarness) -> None:
    """Its controller hears from the collector before it would ask again."""
    harness.trained()
    harness.hear(COLLECTOR, Receipt(job=JOB, task=1, verdict="stored"))
    assert keys.TaskAcknowledgement(JOB, 1) not in harness.timers
    harness.hear(CONTROLLER, train())  # overtaken on its way
    assert harness.told(CONTROLLER, TaskTaken).task == 1


def test_a_large_update_does_not_ride_along(harness: AgentHarness) -> None:
    """The collector fetches it."""
    harness.trained(train(inline_up_to=10))
    assert harness.asks[keys.TaskReply(JOB, 1)].first is None


def test_a_small_model_that_comes_with_its_task_is_not_fetched(harness: AgentHarness) -> None:
    """One of another size than it should be is."""
    harness.hear(CONTROLLER, train(inline=weights_of(1)))
    assert [key.digest for key in harness.input_fetches()] == [blob_ref_of(SPEC).digest]
    harness.hear(CONTROLLER, train(2, base=version(2), inline=b"short"))
    harness.bring()
    harness.work()
    assert harness.runner.done == [("train", 2, weights_of(2))]


def test_what_is_held_is_not_fetched_again(harness: AgentHarness) -> None:
    """A model's architecture stays; of its weights, the last."""
    harness.trained()
    harness.hear(CONTROLLER, train(2))
    assert harness.fetches == {}
    harness.work()
    harness.hear(CONTROLLER, train(3, base=version(2)))
    assert [key.digest for key in harness.input_fetches()] == [version(2).weights.digest]
    assert harness.core.facts() is not None


def test_a_task_repeated_is_taken_again_by_word_only(harness: AgentHarness) -> None:
    """The word may have been lost."""
    harness.hear(CONTROLLER, train())
    fetches = dict(harness.fetches)
    harness.hear(CONTROLLER, train())
    assert harness.told(CONTROLLER, TaskTaken).task == 1
    assert harness.fetches == fetches


def test_a_task_ordered_again_after_its_answer_is_answered_again_not_trained(
    harness: AgentHarness,
) -> None:
    """Its collector may have been restarted: the same bytes, at once."""
    offer = harness.trained()
    harness.hear(CONTROLLER, train())
    assert harness.told(COLLECTOR, Offer) == offer
    assert harness.runs == []


@pytest.mark.parametrize("verdict", ["stored", "drop"])
def test_an_update_is_forgotten_once_its_collector_says_what_became_of_it(
    harness: AgentHarness, verdict: str
) -> None:
    """No longer asked, served, or kept on the disk."""
    harness.trained()
    assert len(harness.files()) == 1
    harness.hear(COLLECTOR, Receipt(job=JOB, task=1, verdict=verdict))  # type: ignore[arg-type]
    harness.work()
    assert (harness.asks, harness.served, harness.files()) == ({}, {}, [])


def test_an_unknown_update_is_asked_about_again(harness: AgentHarness) -> None:
    """The collector was restarted, or its round is still to be opened."""
    harness.trained()
    harness.hear(COLLECTOR, Receipt(job=JOB, task=1, verdict="unknown"))
    assert harness.last == []
    assert harness.offered().task == 1
    assert len(harness.files()) == 1


def test_who_orders_what_was_dealt_with_is_told_so(harness: AgentHarness) -> None:
    """A collector that forgot the update must not wait for another."""
    harness.trained()
    harness.hear(COLLECTOR, STORED)
    harness.work()
    harness.hear(CONTROLLER, train())
    assert harness.told(COLLECTOR, Decline).reason == "its update was already dealt with"
    assert harness.runs == []
    assert harness.asks == {}


def test_a_change_of_what_it_does_is_announced_after_a_moment(harness: AgentHarness) -> None:
    """Not if it is over by then."""
    assert harness.doing() == ""
    harness.hear(CONTROLLER, train())
    harness.wait(1.0)
    assert harness.last == [Introduce()]
    assert harness.doing() == f"train {JOB} 1"
    assert harness.core.progress() == 0.0
    harness.bring()
    harness.work()
    harness.hear(CONTROLLER, train(2))
    harness.hear(CONTROLLER, train(1, job="job-2"))
    assert harness.core.progress() == 0.0
    assert harness.doing() == f"train {JOB} 2"
    harness.wait(1.0)
    assert harness.last == []


def test_what_is_not_for_it_changes_nothing(harness: AgentHarness) -> None:
    """Late timers, late blobs, other people's messages."""
    harness.trained()
    assert harness.tell(Woke(keys.TaskInputRetry(keys.TrainingWork(JOB, 1)))) == []
    assert harness.tell(Woke(SampleKey("else"))) == []
    assert harness.tell(Ran(keys.UpdateRemoval(JOB, 1), None)) == []
    assert harness.hear(COLLECTOR, object()) == []


def test_a_stray_result_is_nobodys(harness: AgentHarness) -> None:
    """Nothing was being worked on."""
    assert harness.tell(Ran(keys.TrainingWork(JOB, 7), None)) == []
