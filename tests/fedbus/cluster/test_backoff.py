"""When a process that died is started again."""

from fedbus.cluster.backoff import LONGEST_RESTART_SECONDS, STEADY_SECONDS, RestartBackoff


def test_pauses_grow_up_to_a_bound() -> None:
    """A service that cannot live must not keep the machine busy."""
    restarts = RestartBackoff()
    pauses = [restarts.died(now=0.0) for _ in range(2000)]
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert pauses[-1] == LONGEST_RESTART_SECONDS


def test_a_long_life_is_forgiven() -> None:
    """Somebody who dies once a day is started again at once."""
    restarts = RestartBackoff()
    restarts.died(now=0.0)
    restarts.died(now=1.0)
    restarts.started(now=2.0)
    assert restarts.died(now=2.0 + STEADY_SECONDS) == 0.5
