"""Order of tasks: one at a time, and the newest of a job."""

from fedbus.core.events import Ran
from fedbus.wire.messages import TaskTaken
from fedbus_edge_agent import keys
from tests.edge_agent.harness import (
    COLLECTOR,
    CONTROLLER,
    JOB,
    OTHER_COLLECTOR,
    STORED,
    AgentHarness,
    train,
    version,
    weights_of,
)


def test_a_newer_task_stops_the_older_one(harness: AgentHarness) -> None:
    """The older result is dropped, and never offered."""
    harness.receive(CONTROLLER, train())
    harness.deliver_inputs()
    (old,) = harness.runs
    result = old.call()
    harness.runs.clear()
    harness.receive(CONTROLLER, train(2))
    assert harness.runs == []  # one at a time
    harness.handle(Ran(old.key, result))
    harness.run_calls()
    assert set(harness.asks) == {keys.TaskReply(JOB, 2)}
    assert harness.files() == [f"{JOB}~2.update"]


def test_a_newer_task_ends_the_fetches_of_the_older(harness: AgentHarness) -> None:
    """Their spools are closed."""
    harness.receive(CONTROLLER, train())
    harness.receive(CONTROLLER, train(2, base=version(2)))
    assert {key.task for key in harness.input_fetches()} == {keys.TrainingWork(JOB, 2)}
    assert harness.spools.used == sum(f.location.blob_ref.size for f in harness.fetches.values())


def test_an_older_task_that_comes_late_is_not_begun(harness: AgentHarness) -> None:
    """It was overtaken; its controller need not repeat it."""
    harness.receive(CONTROLLER, train(2))
    fetches = dict(harness.fetches)
    harness.receive(CONTROLLER, train(1))
    assert harness.sent_to(CONTROLLER, TaskTaken).task == 1
    assert harness.fetches == fetches


def test_an_older_update_is_kept_until_its_receipt(
    harness: AgentHarness,
) -> None:
    """A newer task alone does not settle it."""
    harness.trained()
    harness.trained(train(2))
    assert set(harness.asks) == {keys.TaskReply(JOB, 1), keys.TaskReply(JOB, 2)}
    assert len(harness.files()) == 2


def test_older_updates_are_offered_to_the_collector_of_a_newer_task(harness: AgentHarness) -> None:
    """Their own collector may never come back; older declines are dropped."""
    harness.trained()
    harness.runner.failure = ZeroDivisionError
    harness.receive(CONTROLLER, train(2))
    harness.run_calls()
    assert set(harness.asks) == {keys.TaskReply(JOB, 1), keys.TaskReply(JOB, 2)}
    harness.receive(CONTROLLER, train(1, job="job-2"))
    harness.receive(CONTROLLER, train(3, collector=OTHER_COLLECTOR))
    assert {key: ask.to for key, ask in harness.asks.items()} == {
        keys.TaskReply(JOB, 1): OTHER_COLLECTOR
    }


def test_a_receipt_for_a_running_task_ends_it(harness: AgentHarness) -> None:
    """An earlier process of this agent has done it."""
    harness.receive(CONTROLLER, train())
    harness.receive(COLLECTOR, STORED)
    assert harness.fetches == {}
    assert harness.spools.used == 0


def test_the_tasks_of_two_jobs_run_one_after_the_other(harness: AgentHarness) -> None:
    """In the order in which their inputs are complete."""
    harness.receive(CONTROLLER, train())
    harness.receive(CONTROLLER, train(1, job="job-2"))
    harness.deliver_inputs()
    assert len(harness.runs) == 1
    harness.run_calls()
    assert set(harness.asks) == {keys.TaskReply(JOB, 1), keys.TaskReply("job-2", 1)}


def test_a_waiting_task_whose_weights_were_replaced_fetches_them_again(
    harness: AgentHarness,
) -> None:
    """Only the newest weights of a model are cached; two waiting tasks do not fetch in turns."""
    harness.receive(CONTROLLER, train())
    harness.deliver_inputs()
    harness.receive(CONTROLLER, train(1, job="job-2"))
    harness.receive(CONTROLLER, train(1, job="job-3", base=version(3)))
    harness.deliver_inputs()
    assert len(harness.runs) == 1
    for _ in range(3):
        harness.run_calls()
        harness.deliver_inputs()
    done = [weights for _, _, weights in harness.runner.done]
    assert done == [weights_of(1), weights_of(3), weights_of(1)]
