"""Counts and times of a service's HTTP requests, by route, method and status.

A route is named by its template, such as `/model/{name}/{version}`, never by the path of a request:
so the number of series is bounded, and no name of a model or a job is in them.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from fedbus.core import clock

SECONDS_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
"""Upper bounds of the buckets of times; longer ones are uploads, downloads and waiting answers."""
CLIENT_LEFT: Final = 499
"""The status under which a request is counted whose client closed the connection."""
OTHER: Final = "other"
"""The route of paths that are no endpoint, and the method of those that HTTP does not define."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class HttpRequestMetrics:
    """Counts requests as a middleware, and yields them as metrics."""

    def __init__(self) -> None:
        self._counts = Counter[tuple[str, str, int]]()
        self._buckets: dict[tuple[str, str], list[int]] = {}
        self._seconds: dict[tuple[str, str], float] = {}

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that has ended."""
        self._counts[route, method, status] += 1
        key = (route, method)
        buckets = self._buckets.setdefault(key, [0] * (len(SECONDS_BOUNDS) + 1))
        buckets[bisect_left(SECONDS_BOUNDS, seconds)] += 1
        self._seconds[key] = self._seconds.get(key, 0.0) + seconds

    def middleware(self) -> Middleware:
        """Return the middleware that counts; it must be the outermost one."""

        @web.middleware
        async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
            began, status = clock.monotonic(), CLIENT_LEFT
            try:
                response = await handler(request)
                status = response.status
            except web.HTTPException as error:  # raised by aiohttp: unknown path or method
                status = error.status
                raise
            except ConnectionError:
                raise
            except Exception:
                status = 500
                raise
            finally:
                method = request.method if request.method in _METHODS else OTHER
                self.count(_route_of(request), method, status, clock.monotonic() - began)
            return response

        return counted

    def collect(self) -> Iterator[Metric]:
        """Yield a counter by status, and a histogram of the times to the end of each response."""
        requests = CounterMetricFamily(
            "fedbus_http_requests", "HTTP requests", labels=["route", "method", "status"]
        )
        for (route, method, status), count in sorted(self._counts.items()):
            requests.add_metric([route, method, str(status)], count)
        yield requests
        seconds = HistogramMetricFamily(
            "fedbus_http_request_seconds",
            "time from the headers of an HTTP request to the end of its response",
            labels=["route", "method"],
        )
        for key, buckets in sorted(self._buckets.items()):
            seconds.add_metric(list(key), _cumulated(buckets), sum_value=self._seconds[key])
        yield seconds


def _route_of(request: web.Request) -> str:
    resource = request.match_info.route.resource
    template = OTHER if resource is None else resource.canonical
    return OTHER if template == "/{tail}" else template


def _cumulated(buckets: list[int]) -> list[tuple[str, float]]:
    bounds = (*map(str, SECONDS_BOUNDS), "+Inf")
    return [(bound, sum(buckets[: at + 1])) for at, bound in enumerate(bounds)]
