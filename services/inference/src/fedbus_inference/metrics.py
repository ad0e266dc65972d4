"""Prometheus metrics of inference, imported only if /metrics is served."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

OUTCOMES = ("answered", "refused", "ignored")


class InferenceMetrics(Collector):
    """Number of requests by outcome; `ignored`: no usable response topic."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Yield the counters of `InferenceCore.counts`."""
        requests = CounterMetricFamily(
            "fedbus_inference_requests", "requests by outcome", labels=["outcome"]
        )
        for outcome in OUTCOMES:
            requests.add_metric([outcome], self._counts.get(f"requests_{outcome}", 0))
        yield requests
