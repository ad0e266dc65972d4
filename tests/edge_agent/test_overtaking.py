"""Tasks overtake each other: an agent does one thing at a time, and the newest."""

from fedbus.core.events import Ran
from fedbus.wire.messages import TaskTaken
from fedbus_edge_agent import keys
from tests.edge_agent.stand import (
    COLLECTOR,
    CONTROLLER,
    JOB,
    OTHER_COLLECTOR,
    STORED,
    Stand,
    train,
    version,
    weights_of,
)


def test_a_newer_task_stops_the_older_one(stand: Stand) -> None:
    """What it has made meanwhile is dropped, and never offered."""
    stand.hear(CONTROLLER, train())
    stand.bring()
    (old,) = stand.runs
    result = old.call()
    stand.runs.clear()
    stand.hear(CONTROLLER, train(2))
    assert stand.runs == []  # one at a time
    stand.tell(Ran(old.key, result))
    stand.work()
    assert set(stand.asks) == {keys.TaskReply(JOB, 2)}
    assert stand.files() == [f"{JOB}~2.offer", f"{JOB}~2.update"]


def test_a_newer_task_ends_the_fetches_of_the_older(stand: Stand) -> None:
    """And gives their room back."""
    stand.hear(CONTROLLER, train())
    stand.hear(CONTROLLER, train(2, base=version(2)))
    assert {key.task for key in stand.input_fetches()} == {keys.TrainingWork(JOB, 2)}
    assert stand.spools.used == sum(f.location.blob_ref.size for f in stand.fetches.values())


def test_an_older_task_that_comes_late_is_not_begun(stand: Stand) -> None:
    """It was overtaken; its controller need not repeat it."""
    stand.hear(CONTROLLER, train(2))
    fetches = dict(stand.fetches)
    stand.hear(CONTROLLER, train(1))
    assert stand.told(CONTROLLER, TaskTaken).task == 1
    assert stand.fetches == fetches


def test_an_older_update_is_kept_until_somebody_says_what_became_of_it(stand: Stand) -> None:
    """A newer task alone says nothing about it."""
    stand.trained()
    stand.trained(train(2))
    assert set(stand.asks) == {keys.TaskReply(JOB, 1), keys.TaskReply(JOB, 2)}
    assert len(stand.files()) == 4


def test_a_newer_task_tells_where_to_ask_about_older_updates(stand: Stand) -> None:
    """Their own collector may never come back; declines need no answer any more."""
    stand.trained()
    stand.bench.failure = ZeroDivisionError
    stand.hear(CONTROLLER, train(2))
    stand.work()
    assert set(stand.asks) == {keys.TaskReply(JOB, 1), keys.TaskReply(JOB, 2)}
    stand.hear(CONTROLLER, train(1, job="job-2"))
    stand.hear(CONTROLLER, train(3, collector=OTHER_COLLECTOR))
    assert {key: ask.to for key, ask in stand.asks.items()} == {
        keys.TaskReply(JOB, 1): OTHER_COLLECTOR
    }


def test_a_receipt_for_a_task_under_way_ends_it(stand: Stand) -> None:
    """An earlier life of this agent has done it."""
    stand.hear(CONTROLLER, train())
    stand.hear(COLLECTOR, STORED)
    assert stand.fetches == {}
    assert stand.spools.used == 0


def test_two_jobs_are_worked_on_one_after_the_other(stand: Stand) -> None:
    """In the order in which they have all they need."""
    stand.hear(CONTROLLER, train())
    stand.hear(CONTROLLER, train(1, job="job-2"))
    stand.bring()
    assert len(stand.runs) == 1
    stand.work()
    assert set(stand.asks) == {keys.TaskReply(JOB, 1), keys.TaskReply("job-2", 1)}


def test_a_waiting_task_whose_weights_were_replaced_fetches_them_again(stand: Stand) -> None:
    """Only the last weights of a model are held; two that wait do not fetch in turns."""
    stand.hear(CONTROLLER, train())
    stand.bring()
    stand.hear(CONTROLLER, train(1, job="job-2"))
    stand.hear(CONTROLLER, train(1, job="job-3", base=version(3)))
    stand.bring()
    assert len(stand.runs) == 1
    for _ in range(3):
        stand.work()
        stand.bring()
    done = [weights for _, _, weights in stand.bench.done]
    assert done == [weights_of(1), weights_of(3), weights_of(1)]
