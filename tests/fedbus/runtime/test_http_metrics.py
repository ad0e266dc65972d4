"""Metrics of HTTP requests: by route and not by path, each ended request counted once."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")

from fedbus.runtime.http_metrics import CLIENT_LEFT, HttpRequestMetrics
from tests.fedbus.http_api.served_api import READER, Served, served


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Served]:
    """Serve an API."""
    async with served(tmp_path) as found:
        yield found


async def metrics(service: Served) -> list[str]:
    """Return the lines of `/metrics` about HTTP requests."""
    async with service.session.get(f"{service.url}/metrics") as answer:
        text = await answer.text()
    return [line for line in text.splitlines() if line.startswith("fedbus_http_request")]


def line_of(route: str, method: str, status: int, count: int) -> str:
    """Return the line of a counter."""
    labels = f'method="{method}",route="{route}",status="{status}"'
    return f"fedbus_http_requests_total{{{labels}}} {float(count)}"


async def test_requests_are_counted_by_the_template_of_their_route(service: Served) -> None:
    """A counter for each path would let any client fill the memory, and publish names."""
    for name in "abc":
        async with service.session.post(f"{service.url}/echo/{name}", data=b"x") as answer:
            assert answer.status == 200
    for path in ("blob", "fail/api/", "fail/other/", "nothing/secret-name", "docs/none"):
        async with service.session.get(f"{service.url}/{path}") as answer:
            await answer.read()
    async with service.session.request("PURGE", f"{service.url}/pot") as answer:
        assert answer.status == 404
    async with service.session.get(f"{service.url}/blob", headers={"Authorization": "-"}) as answer:
        assert answer.status == 401

    found = await metrics(service)
    counted = [line for line in found if "_total" in line]
    assert counted == sorted(
        (
            line_of("/blob", "GET", 200, 1),
            line_of("/blob", "GET", 401, 1),
            line_of("/docs/{file}", "GET", 404, 1),
            line_of("/echo/{name}", "POST", 200, 3),
            line_of("/fail/{how}/", "GET", 409, 1),
            line_of("/fail/{how}/", "GET", 500, 1),
            line_of("other", "GET", 404, 1),
            line_of("other", "other", 404, 1),
        ),
        key=lambda line: (line.partition("route=")[2], line),
    )
    assert not any("secret-name" in line for line in found)
    assert 'fedbus_http_request_seconds_count{method="POST",route="/echo/{name}"} 3.0' in found


async def test_a_client_that_leaves_is_counted_as_such(tmp_path: Path) -> None:
    """Interrupted downloads are neither successes nor faults of the service."""
    async with served(tmp_path, bytes(32 << 20)) as service:
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.sendall(
                f"GET /blob HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {READER}\r\n\r\n".encode()
            )
            while not await asyncio.to_thread(client.recv, 100):
                pass
        async with asyncio.timeout(20):
            while line_of("/blob", "GET", CLIENT_LEFT, 1) not in await metrics(service):
                pass


def test_times_are_cumulated_into_buckets() -> None:
    """Prometheus reads a bucket as all requests up to its bound."""
    metrics = HttpRequestMetrics()
    for seconds in (0.0005, 0.001, 0.2, 99.0):
        metrics.count("/model", "GET", 200, seconds)
    _, times = metrics.collect()
    found = {
        sample.labels["le"]: sample.value
        for sample in times.samples
        if sample.name == "fedbus_http_request_seconds_bucket"
    }
    assert (found["0.001"], found["0.1"], found["0.25"]) == (2, 2, 3)
    assert (found["30.0"], found["+Inf"]) == (3, 4)
    total = {sample.name: sample.value for sample in times.samples}
    assert total["fedbus_http_request_seconds_sum"] == pytest.approx(99.2015)
