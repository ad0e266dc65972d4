"""A small API on a real server: a blob to download, a sink to upload to, endpoints with scopes."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from aiohttp import ClientSession, web
from prometheus_client.core import GaugeMetricFamily, Metric

from fedbus.core.actions import Action
from fedbus.core.events import Event
from fedbus.core.interface import Core
from fedbus.digest import digest_of
from fedbus.errors import StoreFullError, StoreUnreachableError, WireError
from fedbus.http_api.access import TokenFileAccess
from fedbus.http_api.blob_responses import BlobDownload
from fedbus.http_api.blob_uploads import receive_blob
from fedbus.http_api.endpoints import (
    FILE,
    PAGES,
    ApiDescription,
    Endpoint,
    json_of,
    schemas_of,
)
from fedbus.http_api.request_bodies import read_body
from fedbus.http_api.request_parameters import read_name
from fedbus.http_api.responses import ApiError
from fedbus.http_api.routes import routes_of
from fedbus.http_api.token_file import change_tokens
from fedbus.http_api.tokens import HttpToken, token_of
from fedbus.runtime.http import HttpAddress, HttpApi, start_http_server
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.runtime.shell import Shell

READER, WRITER = token_of(b"r" * 32), token_of(b"w" * 32)
MAX_BODY = 1000


class MemorySource:
    """A blob in memory, which counts its reads and in which threads they happen."""

    def __init__(self, data: bytes) -> None:
        self.data, self.reads = data, 0
        self.threads: set[str] = set()
        self.fault: Exception | None = None
        self.sound_bytes = 1

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> memoryview:
        self.reads += 1
        self.threads.add(threading.current_thread().name)
        if self.fault is not None and offset >= self.sound_bytes:
            raise self.fault
        return memoryview(self.data)[offset : offset + length]


class MemorySink:
    """What was uploaded."""

    def __init__(self) -> None:
        self.parts: dict[int, bytes] = {}

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self.parts[offset] = bytes(data)

    @property
    def data(self) -> bytes:
        return b"".join(self.parts[at] for at in sorted(self.parts))


@dataclass
class BlobHandlers:
    """Handlers of the API."""

    source: MemorySource
    sink: MemorySink = field(default_factory=MemorySink)

    async def blob(self, request: web.Request) -> web.StreamResponse:
        return await BlobDownload(self.source, digest_of(self.source.data), "a.bin").send(request)

    async def upload(self, request: web.Request) -> web.Response:
        await receive_blob(request, self.sink)
        return web.Response(status=204)

    async def echo(self, request: web.Request) -> web.Response:
        read_name(request, "name")
        return web.Response(body=await read_body(request, MAX_BODY))

    async def fail(self, request: web.Request) -> web.Response:
        match request.match_info["how"]:
            case "wire":
                raise WireError("not a message")
            case "store":
                raise StoreFullError("no space left")
            case "busy":
                raise StoreUnreachableError("does not answer")
            case "api":
                raise ApiError(409, "it runs", Retry_After="5")
        raise RuntimeError("a fault of the handler")


API = ApiDescription(
    "test service",
    (
        Endpoint("GET", "/blob", "blob", "A blob.", (200, "x/y", FILE), scope="models:read"),
        Endpoint("PUT", "/blob", "upload", "Upload.", (204, "", {}), scope="models:write"),
        Endpoint("POST", "/echo/{name}", "echo", "Echo.", json_of({}), scope="models:read"),
        Endpoint("GET", "/fail/{how}/", "fail", "Fails.", json_of({}), {409: "it runs"}),
        *PAGES,
    ),
    schemas_of(()),
)


@dataclass
class Served:
    """A server and a client of it."""

    url: str
    port: int
    session: ClientSession
    handlers: BlobHandlers
    tokens: Path
    shell: Shell


class PrivateCollector:
    """A metric for authorized requests."""

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("fedbus_private", "a private number", 1.0)


class IdleCore(Core):
    """A core that decides nothing."""

    def handle(self, event: Event, now: float) -> Iterator[Action]:  # noqa: ARG002 - the interface
        return iter(())


@asynccontextmanager
async def served(
    tmp_path: Path,
    data: bytes = b"0123456789",
    where: HttpAddress | None = None,
    *,
    private_metrics: bool = False,
) -> AsyncIterator[Served]:
    """Serve the API on a free port."""
    tokens = tmp_path / "tokens"
    reader = HttpToken.of("reader", ["models:read"], READER)
    writer = HttpToken.of("writer", ["models:write"], WRITER)
    await asyncio.to_thread(change_tokens, tokens, lambda _: (reader, writer))
    handlers = BlobHandlers(MemorySource(data))
    access = TokenFileAccess(tokens)
    shell = Shell(Node(Identity(name="agent.a", incarnation=1), IdleCore(), Random(1)), 1)
    private = (PrivateCollector(),) if private_metrics else ()
    api = HttpApi(routes_of(API, handlers, access), (), private, access.admits)
    runner = await start_http_server(shell, where or HttpAddress("127.0.0.1:0"), api)
    port = runner.addresses[0][1]
    headers = {"Authorization": f"Bearer {READER}"}
    try:
        async with ClientSession(headers=headers) as session:
            yield Served(f"http://127.0.0.1:{port}", port, session, handlers, tokens, shell)
    finally:
        await runner.cleanup()
        shell.close()
