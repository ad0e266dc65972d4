"""HTTP server of a service: `/healthz`, `/metrics` and its own API. Imported on demand."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from fedbus.errors import SettingsError
from fedbus.runtime.http_connections import (
    MAX_HTTP_CONNECTIONS,
    TLS_HANDSHAKE_SECONDS,
    LimitedConnections,
)
from fedbus.runtime.http_metrics import HttpRequestMetrics

if TYPE_CHECKING:
    from fedbus.runtime.shell import Shell

READ_AHEAD_BYTES = 256 * 1024
"""Bytes of a body that a connection takes before its handler reads them."""
LAST_RESPONSES_SECONDS = 2.0
"""Time that a stopping process waits for responses that are being sent."""
_TEXTS = frozenset({"application/json", "text/html", "text/plain"})


async def _not_authorized(_: web.Request) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class HttpApi:
    """Routes of a service beside `/healthz` and `/metrics`, and its own metrics.

    `private_collectors` are for authorized requests only, and if the service's `work_is_secret`
    also what tells when it works: events, traffic, HTTP requests, and the time and memory of its
    process.
    `metrics_at_root`: they are at `/` as well, where ASSIST-IoT's Prometheus reads them.
    """

    routes: Sequence[web.AbstractRouteDef] = ()
    collectors: Sequence[Collector] = ()
    private_collectors: Sequence[Collector] = ()
    is_authorized: Callable[[web.Request], Awaitable[bool]] = _not_authorized
    work_is_secret: bool = False
    metrics_at_root: bool = False


class ShellMetrics:
    """Metrics of a shell: connection and progress."""

    def __init__(self, shell: "Shell") -> None:
        self._shell = shell

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, named `fedbus_<noun>_<unit>`."""
        shell = self._shell
        for name, what, value in (
            ("fedbus_bus_connected", "1 while connected to the broker", shell.connected),
            ("fedbus_bus_heard", "1 while the broker delivers the node's messages", shell.healthy),
            ("fedbus_work_progress", "progress of the running work, 0 to 1", shell.node.progress()),
        ):
            yield GaugeMetricFamily(name, what, float(value))


class WorkMetrics:
    """Metrics of what a shell has done: events, packets and bytes."""

    def __init__(self, shell: "Shell") -> None:
        self._shell = shell

    def collect(self) -> Iterator[Metric]:
        """Yield the counters, named `fedbus_<noun>`."""
        shell = self._shell
        events = CounterMetricFamily("fedbus_events", "log events, by name", labels=["event"])
        for event, count in sorted(shell.counts.items()):
            events.add_metric([event], count)
        yield events
        packets = CounterMetricFamily("fedbus_packets", "packets", labels=["direction"])
        bytes_ = CounterMetricFamily("fedbus_bytes", "bytes of payload", labels=["direction"])
        for direction, (count, size) in sorted(shell.traffic.items()):
            packets.add_metric([direction], count)
            bytes_.add_metric([direction], size)
        yield packets
        yield bytes_


@web.middleware
async def _with_newline(request: web.Request, handler: Handler) -> web.StreamResponse:
    """End text and JSON with a newline, so that curl's output ends before the shell's prompt."""
    try:
        answer = await handler(request)
    except web.HTTPException as error:  # raised by aiohttp: unknown path or method
        if error.text and not error.text.endswith("\n"):
            error.text += "\n"
        raise
    if isinstance(answer, web.Response) and answer.content_type in _TEXTS:
        body = answer.body
        if isinstance(body, bytes) and body and not body.endswith(b"\n"):
            answer.body = body + b"\n"
    return answer


def make_app(shell: "Shell", api: HttpApi = HttpApi()) -> web.Application:
    """Make the application of `/healthz`, `/metrics` and the service's own routes."""
    registry = CollectorRegistry()
    registry.register(ShellMetrics(shell))
    PlatformCollector(registry=registry)
    for collector in api.collectors:
        registry.register(collector)
    private = CollectorRegistry()
    work = private if api.work_is_secret else registry
    work.register(WorkMetrics(shell))
    ProcessCollector(registry=work)
    requests = HttpRequestMetrics()
    work.register(requests)
    for collector in api.private_collectors:
        private.register(collector)

    async def healthz(_: web.Request) -> web.Response:
        state = {
            "node": shell.node.identity.name,
            "connected": shell.connected,
            "heard": shell.healthy,
        }
        return web.json_response(state, status=200 if shell.healthy else 503)

    async def metrics(request: web.Request) -> web.Response:
        body = generate_latest(registry)
        if await api.is_authorized(request):
            body += generate_latest(private)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application(middlewares=[requests.middleware(), _with_newline])
    app.add_routes([web.get("/healthz", healthz), web.get("/metrics", metrics)])
    if api.metrics_at_root:
        app.add_routes([web.get("/", metrics)])
    app.add_routes(api.routes)
    return app


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where HTTP is served: `host:port`, and the files of a certificate and its key for TLS."""

    address: str
    certificate: Path | None = None
    key: Path | None = None

    def tls(self) -> ssl.SSLContext | None:
        """Load the certificate; raise SettingsError if that is not possible."""
        if self.certificate is None and self.key is None:
            return None
        if self.certificate is None or self.key is None:
            raise SettingsError("FEDBUS_HTTP_CERT and FEDBUS_HTTP_KEY: set both of them or none")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            what = f"{self.certificate}, {self.key}"
            raise SettingsError(
                f"FEDBUS_HTTP_CERT, FEDBUS_HTTP_KEY: {what}: {error}; expected a certificate in "
                "PEM format and its private key, without a password"
            ) from error
        return context


def _no_password() -> str:
    raise ValueError("the key has a password")


async def start_http_server(
    shell: "Shell", where: HttpAddress, api: HttpApi = HttpApi()
) -> web.AppRunner:
    """Serve HTTP until the runner's `cleanup()`.

    Raises:
        SettingsError: The address is in use, or the certificate cannot be loaded.
    """
    host, _, port = where.address.rpartition(":")
    tls = where.tls()
    runner = web.AppRunner(
        make_app(shell, api),
        access_log=None,
        shutdown_timeout=LAST_RESPONSES_SECONDS,
        read_bufsize=READ_AHEAD_BYTES,
        auto_decompress=False,  # a few bytes may become gigabytes; bodies are limited as sent
    )
    await runner.setup()
    try:
        await LimitedSite(runner, host, int(port), tls).start()
    except (OSError, OverflowError) as error:
        await runner.cleanup()
        raise SettingsError(f"FEDBUS_HTTP={where.address}: {error}") from error
    return runner


class LimitedSite(web.BaseSite):
    """A TCP address of a runner, with bounds for connections; see `http_connections.py`."""

    def __init__(
        self, runner: web.AppRunner, host: str, port: int, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(runner, ssl_context=tls)
        self._host, self._port = host, port

    @property
    def name(self) -> str:
        """The URL."""
        return f"{'http' if self._ssl_context is None else 'https'}://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen."""
        await super().start()
        make = self._runner.server
        assert make is not None  # noqa: S101 - the runner is set up
        self._server = await asyncio.get_running_loop().create_server(
            LimitedConnections(make, MAX_HTTP_CONNECTIONS),
            self._host.strip("[]"),
            self._port,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=None if self._ssl_context is None else TLS_HANDSHAKE_SECONDS,
        )
