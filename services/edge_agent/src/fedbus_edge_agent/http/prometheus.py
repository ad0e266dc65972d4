"""What `/metrics` tells of an agent beside what it tells of every service. Imported with the doors.

The first three gauges have aerOS's names; storage and memory are in bytes.
"""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.host.capabilities import free_storage, gpu, memory_mb


class AgentMetrics(Collector):
    """Read whenever it is asked for."""

    def __init__(self, core: AgentCore, folder: Path) -> None:
        self._core = core
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """Measure the machine and tell of its work."""
        for name, what, value in (
            ("free_storage", "bytes free where the agent keeps things", free_storage(self._folder)),
            ("free_memory", "bytes a process may still take; 0: unknown", memory_mb() * 2**20),
            ("gpu", "1 if an NVIDIA device is visible", gpu()),
        ):
            gauge = GaugeMetricFamily(f"machine_capabilities_{name}", what)
            gauge.add_metric([], float(value))
            yield gauge
        yield from self._work()

    def _work(self) -> Iterator[Metric]:
        counters = self._core.counters
        tasks = CounterMetricFamily(
            "fedbus_agent_tasks", "tasks by kind and outcome", labels=["kind", "outcome"]
        )
        for (kind, outcome), count in sorted(counters.outcomes.items()):
            tasks.add_metric([kind, outcome], count)
        yield tasks
        under_way = GaugeMetricFamily("fedbus_agent_jobs", "trainings that wait or run")
        under_way.add_metric([], sum(self._core.under_way().values()))
        yield under_way


class JobMetrics(Collector):
    """Read whenever somebody who may know of jobs asks for them."""

    def __init__(self, core: AgentCore) -> None:
        self._core = core

    def collect(self) -> Iterator[Metric]:
        """Tell of each job's last training: its id, its loss and its other figures."""
        rounds = GaugeMetricFamily("fedbus_training_round", "last trained here", labels=["job"])
        figures = GaugeMetricFamily(
            "fedbus_training_metric", "of the last training here", labels=["job", "metric"]
        )
        for job, (number, metrics) in self._core.counters.jobs.items():
            rounds.add_metric([job], number)
            for metric, value in metrics.items():
                figures.add_metric([job, metric], value)
        yield rounds
        yield figures
