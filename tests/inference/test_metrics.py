"""Metrics of requests at `/metrics`."""

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, generate_latest

from benchmarks.live_inference import LiveService
from fedbus_inference.local_requests import RefusalKind
from fedbus_inference.metrics import InferenceMetrics
from fedbus_inference.serving_stats import MAX_VERSIONS, ServingStats
from fedbus_inference.settings import InferenceSettings
from tests.inference.harness import Harness


def text_of(stats: ServingStats) -> str:
    """Scrape."""
    registry = CollectorRegistry()
    registry.register(InferenceMetrics(stats))
    return generate_latest(registry).decode()


def test_requests_are_counted_by_what_became_of_them() -> None:
    """Outcomes without a request are listed as well; refusals by their reason."""
    stats = ServingStats()
    stats.answered("sum", 1, 0.002)
    stats.answered("sum", 1, 0.002)
    stats.refused("sum", RefusalKind.OVERLOADED, "overloaded", 0.0)
    text = text_of(stats)
    for outcome, count in {"answered": 2.0, "refused": 1.0, "ignored": 0.0}.items():
        assert f'fedbus_inference_requests_total{{outcome="{outcome}"}} {count}' in text
    assert 'fedbus_inference_refusals_total{reason="overloaded"} 1.0' in text
    assert 'fedbus_inference_refusals_total{reason="invalid"} 0.0' in text


def test_latencies_are_a_summary_and_a_histogram_by_model_version_and_outcome() -> None:
    """Buckets are cumulative, and the last has no bound."""
    stats = ServingStats()
    for seconds in (0.0004, 0.002, 20.0):
        stats.answered("sum", 3, seconds)
    text = text_of(stats)
    labels = 'model="sum",outcome="answered",version="3"'
    name = "fedbus_inference_latency"
    assert f"{name}_seconds_count{{{labels}}} 3.0" in text
    assert f"{name}_seconds_sum{{{labels}}} 20.0024" in text
    for bound, count in {"0.0005": 1.0, "0.0025": 2.0, "10": 2.0, "+Inf": 3.0}.items():
        line = f'{name}_histogram_seconds_bucket{{le="{bound}",{labels}}} {count}'
        assert line in text


def test_the_sizes_of_batches_are_a_histogram() -> None:
    """Whether requests go together."""
    stats = ServingStats()
    stats.batch("sum", 1)
    stats.batch("sum", 16)
    text = text_of(stats)
    assert 'fedbus_inference_batch_requests_bucket{le="1",model="sum"} 1.0' in text
    assert 'fedbus_inference_batch_requests_sum{model="sum"} 17.0' in text


def test_the_length_of_a_queue_is_a_gauge_until_its_slot_is_closed() -> None:
    """Of the default version and of chosen ones."""
    harness = Harness(settings=InferenceSettings(max_chosen_versions=1))
    harness.announce(1)
    harness.ask()
    harness.ask()
    name = "fedbus_inference_queued_requests"
    assert f'{name}{{model="sum",slot=""}} 2.0' in text_of(harness.core.stats)
    harness.settle()
    assert f'{name}{{model="sum",slot=""}} 0.0' in text_of(harness.core.stats)
    for version in (7, 8):
        harness.ask(model=f"sum@{version}")
        harness.show(version)
        harness.settle()
    assert 'slot="7"' not in text_of(harness.core.stats)
    assert f'{name}{{model="sum",slot="8"}} 0.0' in text_of(harness.core.stats)


def test_only_the_last_versions_have_times() -> None:
    """A model that gets a version each minute does not fill the memory."""
    stats = ServingStats()
    for version in range(3 * MAX_VERSIONS):
        stats.answered("sum", version, 0.1)
    versions = [series.version for series, _ in stats.latencies()]
    assert versions == list(range(2 * MAX_VERSIONS, 3 * MAX_VERSIONS))
    assert stats.counts["requests_answered"] == 3 * MAX_VERSIONS


def test_names_of_unknown_models_make_no_series() -> None:
    """A client chooses them."""
    stats = ServingStats()
    stats.refused("nonsense", RefusalKind.NOT_FOUND, "no such model", 0.0)
    assert list(stats.latencies()) == []
    assert stats.refusals[RefusalKind.NOT_FOUND] == 1


@pytest.mark.system
def test_a_service_has_its_metrics_at_the_root_as_well(service: LiveService) -> None:
    """Where ASSIST-IoT reads them."""
    status, body = service.get("/")
    assert status == 200
    assert b"fedbus_inference_requests_total" in body
    assert service.get("/metrics")[0] == 200
