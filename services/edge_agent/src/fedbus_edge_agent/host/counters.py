"""What an agent counts of its work, for `/metrics`. Pure."""

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_COUNTED_JOBS = 16


@dataclass(slots=True)
class AgentCounters:
    """Tasks by (kind, outcome), and the figures of each job's last training here."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    jobs: OrderedDict[str, tuple[int, Mapping[str, float]]] = field(default_factory=OrderedDict)

    def done(self, kind: str, outcome: str) -> None:
        """Count a task."""
        self.outcomes[kind, outcome] += 1

    def measured(self, job: str, round: int, metrics: Mapping[str, float]) -> None:
        """Keep the figures of a training."""
        self.jobs[job] = round, metrics
        self.jobs.move_to_end(job)
        while len(self.jobs) > MAX_COUNTED_JOBS:
            self.jobs.popitem(last=False)
