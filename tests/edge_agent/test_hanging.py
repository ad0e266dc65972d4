"""Training that hangs takes no agent with it."""

from fedbus.core.actions import Quit, Run
from fedbus.core.events import Ran
from fedbus.wire.messages import Decline, Evaluated, StopJob
from fedbus_edge_agent import keys
from fedbus_edge_agent.training.cancellation import Flag
from fedbus_edge_agent.training.watchdog import STALL_SECONDS
from tests.edge_agent.stand import CONTROLLER, JOB, Stand, evaluate, train


def hang(stand: Stand) -> Run:
    """Let a thread begin with a task, and not come back for a long time; returns what it runs."""
    stand.bring()
    run = stand.runs.pop()
    stand.wait(STALL_SECONDS)
    return run


def test_training_that_hangs_is_declined_and_no_more_is_taken(stand: Stand) -> None:
    """All tasks, with the reason; then the process leaves with a code of its own."""
    stand.hear(CONTROLLER, train())
    stand.hear(CONTROLLER, evaluate())
    hang(stand)
    reason = f"training hangs: no batch for {STALL_SECONDS:g} s"
    assert stand.asked(keys.TaskReply(JOB, 1), Decline).reason == reason
    assert stand.told(CONTROLLER, Evaluated).reason == reason
    assert stand.trouble() == reason
    stand.hear(CONTROLLER, train(2))
    assert stand.asked(keys.TaskReply(JOB, 2), Decline).reason == reason
    assert stand.runs == []
    stand.wait(30.0)
    assert stand.last == [Quit(75, reason)]


def test_training_that_comes_back_late_is_not_offered_but_the_agent_works_again(
    stand: Stand,
) -> None:
    """A word given is kept: the task was declined."""
    stand.hear(CONTROLLER, train())
    run = hang(stand)
    stand.tell(Ran(run.key, run.call.func(*run.call.args[:3], Flag())))  # type: ignore[attr-defined]
    stand.work()
    assert stand.files() == []
    assert stand.trouble() == ""
    stand.hear(CONTROLLER, train(2))
    stand.bring()
    stand.work()
    assert stand.offered(2).task == 2
    stand.wait(STALL_SECONDS)
    assert Quit not in map(type, stand.last)


def test_a_worker_that_ignores_a_cancelled_job_is_given_up_too(stand: Stand) -> None:
    """Nobody waits for an answer, but the thread is lost."""
    stand.hear(CONTROLLER, train())
    stand.bring()
    stand.runs.clear()
    stand.hear(CONTROLLER, StopJob(epoch=1, job=JOB))
    stand.wait(STALL_SECONDS)
    assert stand.trouble().startswith("training hangs")
    assert stand.asks == {}
