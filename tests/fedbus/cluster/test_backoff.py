"""Restart times of a process that exits."""

from fedbus.cluster.backoff import LONGEST_RESTART_SECONDS, STEADY_SECONDS, RestartBackoff


def test_pauses_grow_up_to_a_bound() -> None:
    """A service that cannot live must not keep the machine busy."""
    restarts = RestartBackoff()
    pauses = [restarts.exited(now=0.0) for _ in range(2000)]
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert pauses[-1] == LONGEST_RESTART_SECONDS


def test_a_long_life_is_forgiven() -> None:
    """A process that exits once a day is restarted at once."""
    restarts = RestartBackoff()
    restarts.exited(now=0.0)
    restarts.exited(now=1.0)
    restarts.started(now=2.0)
    assert restarts.exited(now=2.0 + STEADY_SECONDS) == 0.5
