"""The one thread that trains: given up when it does not move, and taken back when it does."""

from fedbus.core.actions import Cancel, Introduce, Note, Quit, Run, WakeAt
from fedbus_edge_agent import keys
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.watchdog import EXIT_HUNG, GRACE_SECONDS, TrainingThread

KEY = keys.TrainingWork("job-1", 3)


class At(TaskControl):
    """A flag whose thread is always at one place."""

    def position(self) -> str:
        return "tiny.py:14 in train"


def begun(control: TaskControl) -> TrainingThread:
    """Give a worker something to do, with a patience of 40 seconds."""
    worker = TrainingThread(40.0)
    run, wake = worker.begin(KEY, control, print, 100.0)
    assert run == Run(KEY, print)
    assert wake == WakeAt(keys.StallCheck(), 110.0)
    assert not worker.idle
    return worker


def test_a_worker_that_moves_is_left_alone() -> None:
    """One batch in all its patience is enough."""
    control = TaskControl()
    worker = begun(control)
    for look in range(20):
        control.batches_requested += look % 4 == 3
        assert list(worker.check(100.0)) == [WakeAt(keys.StallCheck(), 110.0)]
    assert worker.trouble == ""
    assert list(worker.ended()) == [Cancel(keys.StallCheck())]
    assert worker.idle


def test_a_worker_that_does_not_move_is_given_up() -> None:
    """It is told to stop; everybody hears why; then the process leaves."""
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


def test_where_it_hangs_is_told() -> None:
    """Where its thread is when it is given up."""
    worker = begun(At())
    for _ in range(4):
        list(worker.check(100.0))
    assert worker.trouble == "training hangs: no batch for 40 s (tiny.py:14 in train)"


def test_a_worker_that_moves_again_is_taken_back() -> None:
    """It was slow, not dead; the process stays."""
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


def test_an_idle_worker_is_not_looked_at() -> None:
    """A late timer changes nothing."""
    assert list(TrainingThread().check(100.0)) == []
