"""Prometheus metrics of inference, imported only if /metrics is served."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from fedbus_inference.local_requests import RefusalKind
from fedbus_inference.serving_stats import Histogram, ServingStats

OUTCOMES = ("answered", "refused", "ignored")
LABELS = ("model", "version", "outcome")


class InferenceMetrics(Collector):
    """Numbers and latencies of requests; `ignored`: no usable response topic."""

    def __init__(self, stats: ServingStats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, named `fedbus_inference_<noun>`."""
        yield from self._counters()
        yield from self._queues()
        summary = SummaryMetricFamily(
            "fedbus_inference_latency_seconds",
            "from a request's arrival to its answer",
            labels=LABELS,
        )
        histogram = HistogramMetricFamily(
            "fedbus_inference_latency_histogram_seconds", "the same, in buckets", labels=LABELS
        )
        for series, latency in self._stats.latencies():
            version = "" if series.version is None else str(series.version)
            labels = [series.model, version, series.outcome]
            summary.add_metric(labels, latency.count, latency.sum)
            histogram.add_metric(labels, buckets_of(latency), latency.sum)
        yield summary
        yield histogram
        batches = HistogramMetricFamily(
            "fedbus_inference_batch_requests",
            "requests that are predicted at once",
            labels=["model"],
        )
        for model, sizes in list(self._stats.batches.items()):
            batches.add_metric([model], buckets_of(sizes), sizes.sum)
        yield batches

    def _queues(self) -> Iterator[Metric]:
        queued = GaugeMetricFamily(
            "fedbus_inference_queued_requests",
            "requests that wait now; slot: a chosen version, empty for the default",
            labels=["model", "slot"],
        )
        for (model, slot), count in list(self._stats.queued.items()):
            queued.add_metric([model, slot], count)
        yield queued
        yield GaugeMetricFamily(
            "fedbus_inference_hung_predictions",
            "predictions that were given up and still keep a thread, until they end or a restart",
            len(self._stats.hung),
        )

    def _counters(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "fedbus_inference_requests", "requests by outcome", labels=["outcome"]
        )
        for outcome in OUTCOMES:
            requests.add_metric([outcome], self._stats.counts.get(f"requests_{outcome}", 0))
        yield requests
        refusals = CounterMetricFamily(
            "fedbus_inference_refusals", "refused requests by reason", labels=["reason"]
        )
        for kind in RefusalKind:
            refusals.add_metric([kind.value], self._stats.refusals.get(kind, 0))
        yield refusals
        shadow = CounterMetricFamily(
            "fedbus_inference_shadow_comparisons",
            "answers compared with those of the alias shadow; skipped: it was busy",
            labels=["result"],
        )
        for result in ("agreed", "differed", "skipped"):
            shadow.add_metric([result], self._stats.counts.get(f"shadow_{result}", 0))
        yield shadow
        yield CounterMetricFamily(
            "fedbus_inference_canary_handed_over",
            "requests that the canary did not answer and the version beside it was asked",
            self._stats.counts.get("canary_handed_over", 0),
        )
        yield CounterMetricFamily(
            "fedbus_inference_canary_roll_backs",
            "canaries that failed too often",
            self._stats.counts.get("canary_roll_backs", 0),
        )


def buckets_of(histogram: Histogram) -> list[tuple[str, float]]:
    """Return cumulative counts by the upper bounds of their buckets."""
    bounds = [*(f"{bound:g}" for bound in histogram.bounds), "+Inf"]
    return list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))
