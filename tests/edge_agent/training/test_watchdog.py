"""Watchdog of the training thread."""

from fedbus.core.actions import Cancel, Introduce, Note, Quit, Run, WakeAt
from fedbus_edge_agent import keys
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.watchdog import EXIT_HUNG, GRACE_SECONDS, TrainingThread

KEY = keys.TrainingWork("job-1", 3)


class ControlAt(TaskControl):
    """A control whose thread is always at one position."""

    def position(self) -> str:
        return "tiny.py:14 in train"


def begun(control: TaskControl) -> TrainingThread:
    """Return a training thread with work and a stall timeout of 40 seconds."""
    worker = TrainingThread(40.0)
    run, wake = worker.begin(KEY, control, print, 100.0)
    assert run == Run(KEY, print)
    assert wake == WakeAt(keys.StallCheck(), 110.0)
    assert not worker.idle
    return worker


def test_a_thread_that_requests_batches_is_not_hung() -> None:
    """One batch per stall timeout is enough."""
    control = TaskControl()
    worker = begun(control)
    for look in range(20):
        control.batches_requested += look % 4 == 3
        assert list(worker.check(100.0)) == [WakeAt(keys.StallCheck(), 110.0)]
    assert worker.trouble == ""
    assert list(worker.ended()) == [Cancel(keys.StallCheck())]
    assert worker.idle


def test_a_thread_that_requests_no_batch_is_hung() -> None:
    """It is cancelled; the reason is logged and published; then the process exits."""
    control = TaskControl()
    worker = begun(control)
    for _ in range(3):
        assert list(worker.check(100.0)) == [WakeAt(keys.StallCheck(), 110.0)]
    reason = "training hangs: no batch for 40 s"
    assert list(worker.check(140.0)) == [
        Note("training_hung", {"work": KEY.parts(), "reason": reason}),
        WakeAt(keys.HungExit(), 140.0 + GRACE_SECONDS),
        Introduce(),
    ]
    assert worker.trouble == reason
    assert control.stopped
    assert list(worker.check(150.0)) == []
    assert list(worker.exit_if_hung()) == [Quit(EXIT_HUNG, reason)]


def test_the_position_of_a_hung_thread_is_reported() -> None:
    """That at the moment of the last check."""
    worker = begun(ControlAt())
    for _ in range(4):
        list(worker.check(100.0))
    assert worker.trouble == "training hangs: no batch for 40 s (tiny.py:14 in train)"


def test_a_thread_that_resumes_is_used_again() -> None:
    """It was slow; the process stays."""
    worker = begun(TaskControl())
    for _ in range(4):
        list(worker.check(100.0))
    moves = Note("training_resumed", {"work": KEY.parts()})
    assert list(worker.ended()) == [
        Cancel(keys.StallCheck()),
        Cancel(keys.HungExit()),
        moves,
        Introduce(),
    ]
    assert worker.trouble == ""
    assert list(worker.exit_if_hung()) == []


def test_an_idle_thread_is_not_checked() -> None:
    """A late timer changes nothing."""
    assert list(TrainingThread().check(100.0)) == []
