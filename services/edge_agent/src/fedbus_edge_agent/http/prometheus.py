"""Metrics of an agent at `/metrics`, beside those of every service.

The names of the first three gauges are those of aerOS; storage and memory are in bytes.
"""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.host.capabilities import free_storage, gpu, memory_mb


class AgentMetrics(Collector):
    """Free resources and numbers of tasks, without the names of jobs."""

    def __init__(self, core: AgentCore, folder: Path) -> None:
        self._core = core
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges and counters."""
        storage, memory = free_storage(self._folder), memory_mb() * 2**20
        for name, description, value in (
            ("free_storage", "free bytes of the disk that the agent stores files on", storage),
            ("free_memory", "bytes that a process may still allocate; 0: unknown", memory),
            ("gpu", "1 if an NVIDIA device is visible", gpu()),
        ):
            yield GaugeMetricFamily(f"machine_capabilities_{name}", description, value)
        counters = self._core.counters
        tasks = CounterMetricFamily(
            "fedbus_agent_tasks", "tasks by kind and outcome", labels=["kind", "outcome"]
        )
        for (kind, outcome), count in sorted(counters.outcomes.items()):
            tasks.add_metric([kind, outcome], count)
        yield tasks
        active = sum(self._core.active_jobs().values())
        yield GaugeMetricFamily("fedbus_agent_jobs", "waiting and running trainings", active)


class JobMetrics(Collector):
    """Metrics that name jobs, for requests with the token only."""

    def __init__(self, core: AgentCore) -> None:
        self._core = core

    def collect(self) -> Iterator[Metric]:
        """Yield the number and the metrics of each job's last round here."""
        rounds = GaugeMetricFamily("fedbus_training_round", "last trained round", labels=["job"])
        values = GaugeMetricFamily(
            "fedbus_training_metric", "metrics of the last trained round", labels=["job", "metric"]
        )
        for job, (number, metrics) in self._core.counters.jobs.items():
            rounds.add_metric([job], number)
            for metric, value in metrics.items():
                values.add_metric([job, metric], value)
        yield rounds
        yield values
