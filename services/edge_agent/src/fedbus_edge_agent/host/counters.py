"""Counters and last metrics of an agent's work, for `/metrics`. Pure."""

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_COUNTED_JOBS = 16


@dataclass(slots=True)
class AgentCounters:
    """Numbers of tasks by (kind, outcome), and each job's last round here with its metrics."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    jobs: OrderedDict[str, tuple[int, Mapping[str, float]]] = field(default_factory=OrderedDict)

    def count(self, kind: str, outcome: str) -> None:
        """Count a task or a standalone round."""
        self.outcomes[kind, outcome] += 1

    def record_metrics(self, job: str, round: int, metrics: Mapping[str, float]) -> None:
        """Keep the metrics of a job's last round."""
        self.jobs[job] = round, metrics
        self.jobs.move_to_end(job)
        while len(self.jobs) > MAX_COUNTED_JOBS:
            self.jobs.popitem(last=False)
