"""What `/metrics` tells of inference beside what all services tell. Imported with the door."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

OUTCOMES = ("answered", "refused", "ignored")


class InferenceMetrics(Collector):
    """Requests by outcome, read whenever it is asked for; `ignored` had nobody to answer."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Name them as `InferenceCore.counts` does."""
        requests = CounterMetricFamily(
            "fedbus_inference_requests", "requests by outcome", labels=["outcome"]
        )
        for outcome in OUTCOMES:
            requests.add_metric([outcome], self._counts.get(f"requests_{outcome}", 0))
        yield requests
