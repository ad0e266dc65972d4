"""Training that hangs, as the core handles it."""

from fedbus.core.actions import Quit, Run
from fedbus.core.events import Ran
from fedbus.wire.messages import Decline, Evaluated, StopJob
from fedbus_edge_agent import keys
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.watchdog import STALL_SECONDS
from tests.edge_agent.harness import CONTROLLER, JOB, AgentHarness, evaluate, train


def hang(harness: AgentHarness) -> Run:
    """Begin a task, let its thread make no progress, and return its run."""
    harness.deliver_inputs()
    run = harness.runs.pop()
    harness.wait(STALL_SECONDS)
    return run


def test_training_that_hangs_is_declined_and_no_more_tasks_are_accepted(
    harness: AgentHarness,
) -> None:
    """All tasks get the reason; then the process exits with a code of its own."""
    harness.receive(CONTROLLER, train())
    harness.receive(CONTROLLER, evaluate())
    hang(harness)
    reason = f"training hangs: no batch for {STALL_SECONDS:g} s"
    assert harness.asked(keys.TaskReply(JOB, 1), Decline).reason == reason
    assert harness.sent_to(CONTROLLER, Evaluated).reason == reason
    assert harness.trouble() == reason
    harness.receive(CONTROLLER, train(2))
    assert harness.asked(keys.TaskReply(JOB, 2), Decline).reason == reason
    assert harness.runs == []
    harness.wait(30.0)
    assert harness.last == [Quit(75, reason)]


def test_training_that_resumes_late_is_not_offered_but_the_agent_works_again(
    harness: AgentHarness,
) -> None:
    """The task was declined already."""
    harness.receive(CONTROLLER, train())
    run = hang(harness)
    harness.handle(Ran(run.key, run.call.func(*run.call.args[:3], TaskControl())))  # type: ignore[attr-defined]
    harness.run_calls()
    assert harness.files() == []
    assert harness.trouble() == ""
    harness.receive(CONTROLLER, train(2))
    harness.deliver_inputs()
    harness.run_calls()
    assert harness.offered(2).task == 2
    harness.wait(STALL_SECONDS)
    assert Quit not in map(type, harness.last)


def test_a_thread_that_ignores_a_cancellation_counts_as_hung(harness: AgentHarness) -> None:
    """No service waits for its result, but the thread cannot be used."""
    harness.receive(CONTROLLER, train())
    harness.deliver_inputs()
    harness.runs.clear()
    harness.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    harness.wait(STALL_SECONDS)
    assert harness.trouble().startswith("training hangs")
    assert harness.asks == {}
