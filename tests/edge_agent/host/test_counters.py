"""What an agent counts of its work."""

from fedbus_edge_agent.host.counters import MAX_COUNTED_JOBS, Tally


def test_outcomes_are_counted_and_the_last_figures_kept() -> None:
    """Of so many jobs, the last ones."""
    tally = Tally()
    tally.done("train", "done")
    tally.done("train", "done")
    for number in range(MAX_COUNTED_JOBS + 1):
        tally.measured(f"j{number}", 1, {"loss": 1.0})
    tally.measured("j1", 2, {"loss": 0.5})
    tally.measured("new", 1, {})
    assert tally.outcomes == {("train", "done"): 2}
    assert len(tally.jobs) == MAX_COUNTED_JOBS
    assert tally.jobs["j1"] == (2, {"loss": 0.5})
    assert "j2" not in tally.jobs
