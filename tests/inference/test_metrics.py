"""Counters of requests at `/metrics`."""

from collections import Counter

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, generate_latest

from fedbus_inference.metrics import InferenceMetrics


def test_requests_are_counted_by_what_became_of_them() -> None:
    """Outcomes without a request are listed as well; values are read at each scrape."""
    counts: Counter[str] = Counter(requests_answered=2)
    registry = CollectorRegistry()
    registry.register(InferenceMetrics(counts))
    counts["requests_refused"] += 1
    text = generate_latest(registry).decode()
    for outcome, count in {"answered": 2.0, "refused": 1.0, "ignored": 0.0}.items():
        assert f'fedbus_inference_requests_total{{outcome="{outcome}"}} {count}' in text
