"""Counters of an agent's work."""

from fedbus_edge_agent.host.counters import MAX_COUNTED_JOBS, AgentCounters


def test_outcomes_are_counted_and_the_last_metrics_kept() -> None:
    """The metrics of the last few jobs only."""
    counters = AgentCounters()
    counters.count("train", "done")
    counters.count("train", "done")
    for number in range(MAX_COUNTED_JOBS + 1):
        counters.record_metrics(f"j{number}", 1, {"loss": 1.0})
    counters.record_metrics("j1", 2, {"loss": 0.5})
    counters.record_metrics("new", 1, {})
    assert counters.outcomes == {("train", "done"): 2}
    assert len(counters.jobs) == MAX_COUNTED_JOBS
    assert counters.jobs["j1"] == (2, {"loss": 0.5})
    assert "j2" not in counters.jobs
