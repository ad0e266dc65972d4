"""What `/metrics` tells of the requests."""

from collections import Counter

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, generate_latest

from fedbus_inference.metrics import InferenceMetrics


def test_requests_are_counted_by_what_became_of_them() -> None:
    """Those of which there was none are told as well; the figures are those of the moment."""
    counts: Counter[str] = Counter(requests_answered=2)
    registry = CollectorRegistry()
    registry.register(InferenceMetrics(counts))
    counts["requests_refused"] += 1
    text = generate_latest(registry).decode()
    for outcome, count in {"answered": 2.0, "refused": 1.0, "ignored": 0.0}.items():
        assert f'fedbus_inference_requests_total{{outcome="{outcome}"}} {count}' in text
