"""Counts and times of requests by model, version and outcome, for metrics and the log. Pure."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from fedbus.core.actions import Note
from fedbus_inference.hung_predictions import HungPredictions
from fedbus_inference.local_requests import RefusalKind
from fedbus_inference.unanswered import UnansweredLog

BUCKETS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the histogram's buckets, in seconds."""
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Upper bounds of the buckets of batch sizes, in requests."""
MAX_VERSIONS: Final = 8
"""Versions of one model with times of their own: older ones are forgotten, as by a restart."""
ANSWERED: Final = "answered"


@dataclass(slots=True)
class Histogram:
    """Measured values: their sum, and their number in each bucket, the last without a bound."""

    bounds: tuple[float, ...]
    sum: float = 0.0
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float, times: int = 1) -> None:
        """Add a value, as often as it was measured."""
        self.sum += value * times
        self.counts[bisect_left(self.bounds, value)] += times

    @property
    def count(self) -> int:
        """Return the number of values."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class Series:
    """Labels of a series of latencies; `version` is None for what no version has answered."""

    model: str
    version: int | None
    outcome: str


class ServingStats:
    """What became of requests.

    Attributes:
        counts: requests_answered, requests_refused, requests_ignored (no usable response topic).
        refusals: Number of refused requests by kind.
        batches: Requests of one run, by model.
        queued: Requests that wait now, by model and slot.
        hung: Predictions that were given up, of all models.
    """

    def __init__(self, hung: HungPredictions | None = None) -> None:
        self.hung = HungPredictions() if hung is None else hung
        self.counts: Counter[str] = Counter()
        self.refusals: Counter[RefusalKind] = Counter()
        self._latencies: dict[tuple[str, str], dict[int | None, Histogram]] = {}
        self.batches: dict[str, Histogram] = {}
        self.queued: dict[tuple[str, str], int] = {}
        self._log = UnansweredLog()
        self._unlogged: list[tuple[str, RefusalKind, str]] = []

    def answered(self, model: str, version: int, seconds: float) -> None:
        """Count an answer."""
        self.counts["requests_answered"] += 1
        self._histogram(model, version, ANSWERED).add(seconds)

    def refused(self, model: str, kind: RefusalKind, sentence: str, seconds: float) -> None:
        """Count a refusal, and keep its sentence for the log, unless it may quote the request."""
        self.counts["requests_refused"] += 1
        self.refusals[kind] += 1
        self._unlogged.append((model, kind, sentence))
        if kind is not RefusalKind.NOT_FOUND:  # a client chooses the names of unknown models
            self._histogram(model, None, kind).add(seconds)

    def batch(self, model: str, requests: int) -> None:
        """Count the number of requests of a run."""
        if model not in self.batches:
            self.batches[model] = Histogram(BATCH_BUCKETS)
        self.batches[model].add(requests)

    def ignored(self, model: str, reason: str, now: float) -> Iterator[Note]:
        """Count and log a request that has no usable response topic."""
        self.counts["requests_ignored"] += 1
        yield from self._log.note("request_unanswerable", model, reason, now)

    def notes(self, now: float) -> Iterator[Note]:
        """Return the log lines of the refusals since the last call: one a minute of each kind."""
        unlogged, self._unlogged = self._unlogged, []
        for model, kind, sentence in unlogged:
            facts = {} if kind is RefusalKind.INVALID else {"error": sentence}
            yield from self._log.note("request_refused", model[:64], str(kind), now, **facts)

    def latencies(self) -> Iterator[tuple[Series, Histogram]]:
        """Yield the seconds from the arrival of requests to their answers."""
        for (model, outcome), versions in list(self._latencies.items()):
            for version, histogram in list(versions.items()):
                yield Series(model, version, outcome), histogram

    def _histogram(self, model: str, version: int | None, outcome: str) -> Histogram:
        versions = self._latencies.setdefault((model, outcome), {})
        found = versions.get(version)
        if found is None:
            if len(versions) >= MAX_VERSIONS:
                del versions[next(iter(versions))]
            found = versions[version] = Histogram(BUCKETS)
        return found
