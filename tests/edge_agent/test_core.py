"""What an agent does with its orders: from a task to an offer, and nothing twice."""

import pytest

from fedbus.core.actions import Introduce
from fedbus.core.events import Ran, Woke
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.messages import Decline, Offer, Receipt, TaskTaken
from fedbus_edge_agent import keys
from fedbus_edge_agent.core import TAKEN_SECONDS
from tests.edge_agent.stand import (
    COLLECTOR,
    CONTROLLER,
    JOB,
    SPEC,
    STORED,
    Stand,
    train,
    update_of,
    version,
    weights_of,
)
from tests.keys import SampleKey


@pytest.mark.parametrize(("cut", "fetched"), [(0, 1), (1, 2)])
def test_a_small_base_that_comes_with_its_task_is_not_fetched(
    stand: Stand, cut: int, fetched: int
) -> None:
    """Unless it is not whole; the spec is fetched in any case."""
    weights = weights_of(1)
    stand.hear(CONTROLLER, train(inline=weights[cut:]))
    assert len(stand.fetches) == fetched
    stand.bring()
    stand.work()
    assert stand.offered().task == 1


def test_a_task_is_taken_fetched_trained_and_offered(stand: Stand) -> None:
    """Spec, weights and files first; the update rides along the first time, if it is small."""
    stand.hear(CONTROLLER, train())
    stand.wait(TAKEN_SECONDS)
    assert stand.told(CONTROLLER, TaskTaken).task == 1
    members = {fetch.members for fetch in stand.fetches.values()}
    assert (len(stand.fetches), members) == (2, {3})
    stand.bring()
    stand.work()
    offer = stand.offered()
    assert (offer.update, offer.base, offer.inline) == (blob_ref_of(update_of(1)), 1, None)
    ask = stand.asks[keys.TaskReply(JOB, 1)]
    assert ask.to == COLLECTOR
    assert isinstance(ask.first, Offer)
    assert ask.first.inline == update_of(1)
    served = stand.served[offer.update.digest]
    assert served.read(0, served.size) == update_of(1)


def test_of_a_task_that_is_over_at_once_nothing_is_said(stand: Stand) -> None:
    """Its controller hears from the collector before it would ask again."""
    stand.trained()
    stand.hear(COLLECTOR, Receipt(job=JOB, task=1, verdict="stored"))
    assert keys.TaskAcknowledgement(JOB, 1) not in stand.timers
    stand.hear(CONTROLLER, train())  # overtaken on its way
    assert stand.told(CONTROLLER, TaskTaken).task == 1


def test_a_large_update_does_not_ride_along(stand: Stand) -> None:
    """The collector fetches it."""
    stand.trained(train(inline_up_to=10))
    assert stand.asks[keys.TaskReply(JOB, 1)].first is None


def test_a_small_model_that_comes_with_its_task_is_not_fetched(stand: Stand) -> None:
    """One of another size than it should be is."""
    stand.hear(CONTROLLER, train(inline=weights_of(1)))
    assert [key.digest for key in stand.input_fetches()] == [blob_ref_of(SPEC).digest]
    stand.hear(CONTROLLER, train(2, base=version(2), inline=b"short"))
    stand.bring()
    stand.work()
    assert stand.bench.done == [("train", 2, weights_of(2))]


def test_what_is_held_is_not_fetched_again(stand: Stand) -> None:
    """A model's architecture stays; of its weights, the last."""
    stand.trained()
    stand.hear(CONTROLLER, train(2))
    assert stand.fetches == {}
    stand.work()
    stand.hear(CONTROLLER, train(3, base=version(2)))
    assert [key.digest for key in stand.input_fetches()] == [version(2).weights.digest]
    assert stand.core.facts() is not None


def test_a_task_repeated_is_taken_again_by_word_only(stand: Stand) -> None:
    """The word may have been lost."""
    stand.hear(CONTROLLER, train())
    fetches = dict(stand.fetches)
    stand.hear(CONTROLLER, train())
    assert stand.told(CONTROLLER, TaskTaken).task == 1
    assert stand.fetches == fetches


def test_a_task_ordered_again_after_its_answer_is_answered_again_not_trained(
    stand: Stand,
) -> None:
    """Its collector may have been restarted: the same bytes, at once."""
    offer = stand.trained()
    stand.hear(CONTROLLER, train())
    assert stand.told(COLLECTOR, Offer) == offer
    assert stand.runs == []


@pytest.mark.parametrize("verdict", ["stored", "drop"])
def test_an_update_is_forgotten_once_its_collector_says_what_became_of_it(
    stand: Stand, verdict: str
) -> None:
    """No longer asked, served, or kept on the disk."""
    stand.trained()
    assert len(stand.files()) == 2
    stand.hear(COLLECTOR, Receipt(job=JOB, task=1, verdict=verdict))  # type: ignore[arg-type]
    stand.work()
    assert (stand.asks, stand.served, stand.files()) == ({}, {}, [])


def test_an_unknown_update_is_asked_about_again(stand: Stand) -> None:
    """The collector was restarted, or its round is still to be opened."""
    stand.trained()
    stand.hear(COLLECTOR, Receipt(job=JOB, task=1, verdict="unknown"))
    assert stand.last == []
    assert stand.offered().task == 1
    assert len(stand.files()) == 2


def test_who_orders_what_was_dealt_with_is_told_so(stand: Stand) -> None:
    """A collector that forgot the update must not wait for another."""
    stand.trained()
    stand.hear(COLLECTOR, STORED)
    stand.work()
    stand.hear(CONTROLLER, train())
    assert stand.told(COLLECTOR, Decline).reason == "its update was already dealt with"
    assert stand.runs == []
    assert stand.asks == {}


def test_a_change_of_what_it_does_is_announced_after_a_moment(stand: Stand) -> None:
    """Not if it is over by then."""
    assert stand.doing() == ""
    stand.hear(CONTROLLER, train())
    stand.wait(1.0)
    assert stand.last == [Introduce()]
    assert stand.doing() == f"train {JOB} 1"
    assert stand.core.progress() == 0.0
    stand.bring()
    stand.work()
    stand.hear(CONTROLLER, train(2))
    stand.hear(CONTROLLER, train(1, job="job-2"))
    assert stand.core.progress() == 0.0
    assert stand.doing() == f"train {JOB} 2"
    stand.wait(1.0)
    assert stand.last == []


def test_what_is_not_for_it_changes_nothing(stand: Stand) -> None:
    """Late timers, late blobs, other people's messages."""
    stand.trained()
    assert stand.tell(Woke(keys.TaskInputRetry(keys.TrainingWork(JOB, 1)))) == []
    assert stand.tell(Woke(SampleKey("else"))) == []
    assert stand.tell(Ran(keys.UpdateRemoval(JOB, 1), None)) == []
    assert stand.hear(COLLECTOR, object()) == []


def test_a_stray_result_is_nobodys(stand: Stand) -> None:
    """Nothing was being worked on."""
    assert stand.tell(Ran(keys.TrainingWork(JOB, 7), None)) == []
