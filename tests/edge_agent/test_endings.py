"""The end of jobs, of epochs and of an agent's lives."""

from pathlib import Path

import pytest

from fedbus.core.events import Connected, Stopping
from fedbus.wire.messages import JobStopped, StaleEpoch, StopJob, TaskTaken
from fedbus_edge_agent import keys
from fedbus_edge_agent.tasks.replies import Answers
from fedbus_edge_agent.training.outbox import Outbox
from tests.edge_agent.stand import CONTROLLER, JOB, Stand, evaluate, train, update_of


def test_a_stopped_job_leaves_nothing_behind(stand: Stand) -> None:
    """Not a task, not an update, not a decline; others go on."""
    stand.trained()
    stand.trained(train(1, job="job-2"))
    stand.hear(CONTROLLER, train(2))
    (running,) = stand.runs
    stand.hear(CONTROLLER, evaluate())
    stand.hear(CONTROLLER, StopJob(epoch=1, job=JOB))
    assert stand.told(CONTROLLER, JobStopped).job == JOB
    stand.work()
    assert set(stand.asks) == {keys.TaskReply("job-2", 1)}
    assert stand.files() == ["job-2~1.offer", "job-2~1.update"]
    assert running.key == keys.TrainingWork(JOB, 2)


def test_a_late_order_of_a_stopped_job_is_not_followed(stand: Stand) -> None:
    """It may be a repetition, overtaken by the end."""
    stand.hear(CONTROLLER, StopJob(epoch=1, job=JOB))
    stand.hear(CONTROLLER, train(9))
    assert stand.told(CONTROLLER, TaskTaken).task == 9
    assert (stand.fetches, stand.asks) == ({}, {})


@pytest.mark.parametrize("stale", [train(epoch=3), evaluate(epoch=3), StopJob(epoch=3, job=JOB)])
def test_an_order_under_a_lower_epoch_is_refused(stand: Stand, stale: object) -> None:
    """Its sender has lost the lease, and is told so."""
    stand.hear(CONTROLLER, train(epoch=4))
    stand.hear("controller.2", stale)
    assert stand.told("controller.2", StaleEpoch).epoch == 4
    assert len(stand.last) == 1


def test_a_restarted_agent_offers_the_same_bytes_again(tmp_path: Path) -> None:
    """Once; what is trained again would not be the same."""
    first = Stand(tmp_path)
    offer = first.trained()
    second = Stand(tmp_path)
    assert second.offered() == offer
    served = second.served[offer.update.digest]
    assert served.read(0, served.size) == update_of(1)
    assert second.tell(Connected()) == []
    second.hear(CONTROLLER, train())
    assert (second.runs, second.fetches) == ([], {})


def test_an_update_settled_before_the_first_connection_is_not_offered(tmp_path: Path) -> None:
    """A receipt may be quicker than the connection's greeting."""
    Stand(tmp_path).trained()
    answers = Answers(Outbox(tmp_path))
    assert answers.given(JOB, 1)
    list(answers.settle(JOB, 1))
    assert list(answers.begin()) == []


def test_work_is_stopped_when_the_process_leaves(stand: Stand) -> None:
    """Nobody is told: the next life does it anew."""
    stand.hear(CONTROLLER, train())
    stand.bring()
    stand.tell(Stopping())
    stand.work()
    assert stand.asks == {}
    assert stand.bench.done == []
