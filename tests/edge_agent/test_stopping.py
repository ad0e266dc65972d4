"""Stops of jobs, lower lease epochs, and restarts of an agent."""

from pathlib import Path

import pytest

from fedbus.core.events import Connected, Stopping
from fedbus.wire.messages import JobStopped, StaleEpoch, StopJob, TaskTaken
from fedbus_edge_agent import keys
from fedbus_edge_agent.tasks.replies import TaskReplies
from fedbus_edge_agent.training.outbox import Outbox
from tests.edge_agent.harness import CONTROLLER, JOB, AgentHarness, evaluate, train, update_of


def test_a_stopped_job_leaves_nothing_behind(harness: AgentHarness) -> None:
    """No task, update or decline; other jobs continue."""
    harness.trained()
    harness.trained(train(1, job="job-2"))
    harness.receive(CONTROLLER, train(2))
    (running,) = harness.runs
    harness.receive(CONTROLLER, evaluate())
    harness.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    assert harness.sent_to(CONTROLLER, JobStopped).job == JOB
    harness.run_calls()
    assert set(harness.asks) == {keys.TaskReply("job-2", 1)}
    assert harness.files() == ["job-2~1.update"]
    assert running.key == keys.TrainingWork(JOB, 2)


def test_a_late_task_of_a_stopped_job_is_not_begun(harness: AgentHarness) -> None:
    """It may be a repetition that the stop has overtaken."""
    harness.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    harness.receive(CONTROLLER, train(9))
    assert harness.sent_to(CONTROLLER, TaskTaken).task == 9
    assert (harness.fetches, harness.asks) == ({}, {})


@pytest.mark.parametrize("stale", [train(epoch=3), evaluate(epoch=3), StopJob(epoch=3, job=JOB)])
def test_a_task_of_a_lower_lease_epoch_is_refused(harness: AgentHarness, stale: object) -> None:
    """Its sender has lost the lease, and receives the higher epoch."""
    harness.receive(CONTROLLER, train(epoch=4))
    harness.receive("controller.2", stale)
    assert harness.sent_to("controller.2", StaleEpoch).epoch == 4
    assert len(harness.last) == 1


def test_a_restarted_agent_offers_the_same_bytes_again(tmp_path: Path) -> None:
    """Once; a repeated training could give other bytes."""
    first = AgentHarness(tmp_path)
    offer = first.trained()
    second = AgentHarness(tmp_path)
    assert second.offered() == offer
    served = second.served[offer.update.digest]
    assert served.read(0, served.size) == update_of(1)
    assert second.handle(Connected()) == []
    second.receive(CONTROLLER, train())
    assert (second.runs, second.fetches) == ([], {})


def test_an_update_settled_before_the_first_connection_is_not_offered(tmp_path: Path) -> None:
    """A receipt may arrive before the event of the connection."""
    AgentHarness(tmp_path).trained()
    answers = TaskReplies(Outbox(tmp_path))
    assert answers.is_open(JOB, 1)
    list(answers.settle(JOB, 1))
    assert list(answers.begin()) == []


def test_work_is_stopped_when_the_process_exits(harness: AgentHarness) -> None:
    """Without a report: the next process repeats the task."""
    harness.receive(CONTROLLER, train())
    harness.deliver_inputs()
    harness.handle(Stopping())
    harness.run_calls()
    assert harness.asks == {}
    assert harness.runner.done == []
