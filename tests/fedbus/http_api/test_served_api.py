"""An API on a real server: access, downloads and ranges, uploads, descriptions, attacks."""

import asyncio
import gzip
import hashlib
import json
import ssl
import subprocess
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("aiohttp")

from aiohttp import ClientConnectionError, ClientPayloadError, ClientSession
from aiohttp.test_utils import TestServer

from fedbus.digest import digest_of
from fedbus.errors import SettingsError, StoreError
from fedbus.http_api import blob_responses, blob_uploads, request_bodies, swagger_ui
from fedbus.http_api.routes import TOKENS_FILE, api_off
from fedbus.http_api.token_file import change_tokens
from fedbus.http_api.tokens import HttpToken
from fedbus.runtime import http, http_connections
from fedbus.runtime.http import HttpAddress, make_app
from tests.fedbus.http_api.served_api import READER, WRITER, Served, served

DATA = b"0123456789"
ETAG = f'"{digest_of(DATA)}"'


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Served]:
    """Serve the API."""
    async with served(tmp_path, DATA) as found:
        yield found


async def ask(
    api: Served,
    method: str,
    path: str,
    **more: Any,  # noqa: ANN401 - aiohttp's
) -> tuple[int, Any, Any]:
    """Send a request; return status, body (decoded if it is JSON) and headers."""
    if isinstance(more.get("data"), bytes):
        more["data"] = BytesIO(more["data"])
    async with api.session.request(method, api.url + path, **more) as answer:
        body = await answer.read()
        if "json" in answer.content_type and body:
            return answer.status, json.loads(body), answer.headers
        return answer.status, body, answer.headers


async def taken(reader: asyncio.StreamReader) -> int:
    """Return how many bytes come until the connection ends."""
    got = 0
    with suppress(ConnectionError):
        while block := await reader.read(1 << 16):
            got += len(block)
    return got


async def raw(api: Served, data: bytes) -> bytes:
    """Send bytes on a connection of their own; return the first bytes of what comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    try:
        writer.write(data)
        async with asyncio.timeout(5):
            return await reader.read(4096)
    except ConnectionError:
        return b""
    finally:
        await end(writer)


async def end(writer: asyncio.StreamWriter) -> None:
    """Close a connection, which the service may have closed before."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def is_refused(answer: bytes) -> bool:
    """Return whether an answer has the status 400."""
    return answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))


async def test_a_request_needs_a_token_with_the_scope_of_its_endpoint(api: Served) -> None:
    """401 without one or with another, 403 with too little; all before the body is read."""
    status, body, headers = await ask(api, "GET", "/blob", headers={"Authorization": ""})
    assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
    for wrong in (f"Bearer {READER}x", f"Basic {READER}", "Bearer", f"Bearer {'x' * 4000}"):
        status, body, _ = await ask(api, "GET", "/blob", headers={"Authorization": wrong})
        assert (status, "fedbus tokens new" in body["error"]) == (401, True)
    async with ClientSession() as session, session.get(f"{api.url}/blob") as answer:
        assert answer.status == 401
        assert "no token was sent" in (await answer.json())["error"]
    status, body, _ = await ask(api, "PUT", "/blob", data=b"x")
    assert (status, body["error"]) == (403, "token reader does not have the scope models:write")
    assert api.handlers.sink.parts == {}
    status, body, _ = await ask(api, "GET", "/nothing")
    assert (status, "no endpoint of this service" in body["error"]) == (404, True)
    assert (await ask(api, "GET", "/nothing", headers={"Authorization": "Bearer x"}))[0] == 401


async def test_wrong_tokens_are_limited_and_right_ones_are_not(api: Served) -> None:
    """After ten in a minute, further ones get 429 with a time."""
    wrong = {"Authorization": "Bearer wrong"}
    found = [(await ask(api, "GET", "/blob", headers=wrong))[0] for _ in range(11)]
    assert found == [401] * 10 + [429]
    status, body, headers = await ask(api, "GET", "/blob", headers=wrong)
    assert (status, 0 < int(headers["Retry-After"]) <= 60) == (429, True)
    assert "too many wrong tokens; wait" in body["error"]
    assert (await ask(api, "GET", "/blob"))[0] == 200


async def test_tokens_are_read_again_while_the_service_runs(api: Served) -> None:
    """A revoked one ends, and while the file cannot be read, none is accepted."""
    assert (await ask(api, "GET", "/blob"))[0] == 200
    keep = await asyncio.to_thread(api.tokens.read_bytes)
    await asyncio.to_thread(change_tokens, api.tokens, lambda found: found[1:])
    assert (await ask(api, "GET", "/blob"))[0] == 401
    assert "fedbus_events" in (await ask(api, "GET", "/metrics"))[1].decode()
    await asyncio.to_thread(api.tokens.write_bytes, b"damaged")
    answers = await asyncio.gather(*(ask(api, "GET", "/blob") for _ in range(5)))
    assert {(status, body["error"]) for status, body, _ in answers} == {
        (503, "this service cannot read its tokens; its log has the reason")
    }
    assert (await ask(api, "GET", "/metrics"))[0] == 200
    await asyncio.to_thread(api.tokens.write_bytes, keep)
    assert (await ask(api, "GET", "/blob"))[0] == 200


async def test_a_blob_is_downloaded_whole_or_in_part(api: Served) -> None:
    """With its digest as tag; HEAD sends the headers alone."""
    status, body, headers = await ask(api, "GET", "/blob")
    assert (status, body, headers["ETag"], headers["Accept-Ranges"]) == (200, DATA, ETAG, "bytes")
    assert headers["Content-Disposition"] == 'attachment; filename="a.bin"'
    status, body, headers = await ask(api, "HEAD", "/blob")
    assert (status, body, headers["Content-Length"], headers["ETag"]) == (200, b"", "10", ETAG)
    for asked, part, said in (
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=8-", b"89", "bytes 8-9/10"),
    ):
        status, body, headers = await ask(api, "GET", "/blob", headers={"Range": asked})
        assert (status, body, headers["Content-Range"]) == (206, part, said)
    status, body, headers = await ask(api, "GET", "/blob", headers={"Range": "bytes=10-"})
    assert (status, headers["Content-Range"]) == (416, "bytes */10")
    assert "the blob has 10 bytes" in body["error"]
    assert (await ask(api, "HEAD", "/blob", headers={"Range": "bytes=10-"}))[0] == 416


async def test_conditions_name_the_digest(api: Served) -> None:
    """So that a resumed download never mixes two blobs."""
    part = {"Range": "bytes=2-4"}
    assert (await ask(api, "GET", "/blob", headers={**part, "If-Range": ETAG}))[0] == 206
    status, body, _ = await ask(api, "GET", "/blob", headers={**part, "If-Range": '"other"'})
    assert (status, body) == (200, DATA)
    status, body, headers = await ask(api, "GET", "/blob", headers={"If-None-Match": ETAG})
    assert (status, body, headers["ETag"]) == (304, b"", ETAG)
    assert (await ask(api, "GET", "/blob", headers={"If-Match": '"other"'}))[0] == 412
    assert (await ask(api, "GET", "/blob", headers={"If-Match": ETAG}))[0] == 200


async def test_an_empty_blob_is_downloaded(api: Served) -> None:
    """It has no range."""
    api.handlers.source.data = b""
    assert (await ask(api, "GET", "/blob"))[:2] == (200, b"")
    assert (await ask(api, "GET", "/blob", headers={"Range": "bytes=0-"}))[0] == 416


async def test_a_large_blob_is_read_in_threads_and_only_as_fast_as_it_is_taken(
    api: Served,
) -> None:
    """A client that stops reading makes the service read a few blocks, not the blob."""
    source = api.handlers.source
    source.data = Random(1).randbytes(1 << 20) * 32
    async with api.session.get(f"{api.url}/blob") as answer:
        await answer.content.readexactly(10)
        await asyncio.sleep(0.3)
        read_by_then = source.reads
        rest = await answer.content.read()
    blocks = source.size // blob_responses.DOWNLOAD_BLOCK_BYTES
    assert read_by_then < blocks - 20  # what the kernel's buffers of both sides take
    assert len(rest) == source.size - 10
    assert digest_of(source.data[:10] + rest) == digest_of(source.data)
    assert "MainThread" not in source.threads


@pytest.mark.parametrize("fault", [OSError(5, "Input/output error"), StoreError("damaged")])
async def test_a_disk_that_fails_ends_the_download_early(api: Served, fault: Exception) -> None:
    """The client sees that bytes are missing, and no second response; the service serves on."""
    source = api.handlers.source
    source.data = bytes(4 << 20)
    source.fault = fault
    with pytest.raises(ClientPayloadError):
        await ask(api, "GET", "/blob")
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(
        f"GET /blob HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {READER}\r\n\r\n".encode()
    )
    sent = bytearray()
    async with asyncio.timeout(5):
        with suppress(ConnectionError):
            while block := await reader.read(1 << 16):
                sent += block
    await end(writer)
    assert sent.partition(b"\r\n\r\n")[2].strip(b"\0") == b""
    source.fault = None
    assert (await ask(api, "GET", "/blob"))[0] == 200


async def test_a_blob_whose_beginning_cannot_be_read_is_an_error(api: Served) -> None:
    """With a sentence: nothing is sent yet."""
    api.handlers.source.fault, api.handlers.source.sound_bytes = StoreError("damaged"), 0
    status, body, _ = await ask(api, "GET", "/blob")
    assert (status, body["error"]) == (500, "damaged")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "GZIP", "identity, gzip"])
async def test_a_compressed_body_is_refused(api: Served, coding: str) -> None:
    """A few bytes may be gigabytes, and its length is not that of what would be stored."""
    data = gzip.compress(bytes(100_000))
    for method, path, token in (("PUT", "/blob", WRITER), ("POST", "/echo/a", READER)):
        headers = {"Authorization": f"Bearer {token}", "Content-Encoding": coding}
        status, body, _ = await ask(api, method, path, data=data, headers=headers)
        assert (status, "send the bytes as they are" in body["error"]) == (415, True)
    assert api.handlers.sink.parts == {}
    headers = {"Content-Encoding": "Identity"}
    assert (await ask(api, "POST", "/echo/a", data=b"x", headers=headers))[:2] == (200, b"x")


async def test_a_revoked_token_no_longer_reads_private_metrics(tmp_path: Path) -> None:
    """Also where nothing but the metrics is asked for."""
    async with served(tmp_path, DATA, private_metrics=True) as api:
        assert b"fedbus_private" in (await ask(api, "GET", "/metrics"))[1]
        await asyncio.to_thread(change_tokens, api.tokens, lambda found: found[1:])
        assert b"fedbus_private" not in (await ask(api, "GET", "/metrics"))[1]
        added = HttpToken.of("new", ["models:read"], READER)
        await asyncio.to_thread(change_tokens, api.tokens, lambda found: (*found, added))
        assert b"fedbus_private" in (await ask(api, "GET", "/metrics"))[1]


async def test_a_client_that_takes_nothing_is_disconnected(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it does not hold a thread's results and a connection."""
    monkeypatch.setattr(blob_responses, "STALLED_READER_SECONDS", 0.2)
    source = api.handlers.source
    source.data = bytes(64 << 20)
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port, limit=1024)
    request = f"GET /blob HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {READER}\r\n\r\n"
    writer.write(request.encode())
    await asyncio.sleep(0.6)
    assert await taken(reader) < source.size
    await end(writer)


async def test_a_body_is_streamed_to_a_sink(api: Served) -> None:
    """In blocks, in order, with its SHA-256 checked if it is given."""
    data = Random(2).randbytes(3_000_001)
    digest = b64encode(hashlib.sha256(data).digest()).decode()
    headers = {"Authorization": f"Bearer {WRITER}", "Content-Digest": f"sha-256=:{digest}:"}
    status, body, _ = await ask(api, "PUT", "/blob", data=data, headers=headers)
    assert (status, body) == (204, b"")
    assert api.handlers.sink.data == data
    assert max(map(len, api.handlers.sink.parts.values())) <= 2 * request_bodies.UPLOAD_BLOCK_BYTES
    status, body, _ = await ask(api, "PUT", "/blob", data=data[1:], headers=headers)
    assert (status, "another SHA-256" in body["error"]) == (400, True)
    for wrong in ("sha-256=:abc:", f"md5=:{digest}:", f"sha-256=:{'=' * 44}:", "x"):
        headers["Content-Digest"] = wrong
        status, body, _ = await ask(api, "PUT", "/blob", data=data, headers=headers)
        assert (status, "Content-Digest: expected" in body["error"]) == (400, True)


class SlowSink:
    """A sink whose writes take a while, and which knows whether one is in progress."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.writing, self.written, self.fault = False, 0, fault

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self.writing = True
        time.sleep(0.2)
        self.writing = False
        if self.fault is not None:
            raise self.fault
        self.written = offset + len(data)


async def blocks(count: int, pause: float = 0.0) -> AsyncIterator[bytes]:
    """Yield blocks of a body."""
    for _ in range(count):
        yield bytes(request_bodies.UPLOAD_BLOCK_BYTES)
        await asyncio.sleep(pause)


async def test_no_thread_writes_after_an_upload_has_ended() -> None:
    """Not after it was cancelled, several times, nor after an error: the file may be closed."""
    sink = SlowSink()
    task = asyncio.create_task(blob_uploads.write_blocks(blocks(3, 0.01), sink))
    await asyncio.sleep(0.05)
    assert sink.writing
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.01)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not sink.writing
    assert sink.written == request_bodies.UPLOAD_BLOCK_BYTES
    failing = SlowSink(StoreError("disk full"))
    with pytest.raises(StoreError, match="disk full"):
        await blob_uploads.write_blocks(blocks(3), failing)
    assert not failing.writing


async def test_a_body_is_limited_before_it_is_read(api: Served) -> None:
    """By its length, which must be known."""
    assert (await ask(api, "POST", "/echo/a", data=b"x" * 1000))[:2] == (200, b"x" * 1000)
    status, body, _ = await ask(api, "POST", "/echo/a", data=b"x" * 1001)
    assert (status, body["error"]) == (413, "1001 bytes, at most 1000")

    async def drops() -> AsyncIterator[bytes]:
        yield b"{"

    status, body, _ = await ask(api, "POST", "/echo/a", data=drops())
    assert (status, body["error"]) == (411, "send a Content-Length")
    head = f"POST /echo/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {READER}\r\n"
    said = await raw(api, f"{head}Content-Length: 99999999999999999999\r\n\r\n".encode())
    assert is_refused(said)


async def test_a_body_that_stalls_or_breaks_off_ends(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 408, and nothing is kept waiting."""
    monkeypatch.setattr(request_bodies, "STALLED_BODY_SECONDS", 0.2)
    head = f"POST /echo/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {READER}\r\n"
    said = await raw(api, f"{head}Content-Length: 10\r\n\r\nabc".encode())
    assert said.startswith(b"HTTP/1.1 408")
    assert b"nothing came for 0.2 s" in said
    assert (await ask(api, "POST", "/echo/a", data=b"x"))[0] == 200


@pytest.mark.parametrize(
    ("how", "status", "error"),
    [
        ("wire", 400, "not a message"),
        ("store", 507, "no space left"),
        ("busy", 503, "does not answer"),
        ("api", 409, "it runs"),
    ],
)
async def test_errors_of_handlers_become_sentences(
    api: Served, how: str, status: int, error: str
) -> None:
    """With their status; a fault of the handler itself shows nothing of it."""
    found, body, headers = await ask(api, "GET", f"/fail/{how}/")
    assert (found, body["error"]) == (status, error)
    assert headers.get("Retry-After") == {"api": "5", "busy": "10"}.get(how)
    found, body, _ = await ask(api, "GET", "/fail/other")
    assert found == 500
    assert b"a fault of the handler" not in body


async def test_names_in_a_path_are_checked(api: Served) -> None:
    """No path leaves its place."""
    for name in ("..", "%2e%2e", "a%2fb", "%00", "-a", "x" * 65, "a%0d%0ab"):
        async with api.session.post(f"{api.url}/echo/{name}", data=b"") as answer:
            assert answer.status in {400, 404}, name


async def test_a_method_that_a_path_does_not_have_is_refused_with_those_that_it_has(
    api: Served,
) -> None:
    """Of endpoints, of the pages and of the paths of every service; a token is needed first."""
    for method, path, allowed in (
        ("PATCH", "/blob", "GET, HEAD, PUT"),
        ("DELETE", "/echo/a", "POST"),
        ("POST", "/docs", "GET, HEAD"),
        ("POST", "/fail/api", "GET, HEAD"),
        ("PUT", "/metrics", "GET, HEAD"),
        ("OPTIONS", "/healthz", "GET, HEAD"),
    ):
        status, body, headers = await ask(api, method, path)
        assert (status, headers["Allow"]) == (405, allowed), path
        assert body["error"] == f"{path} takes {allowed}; not {method}"
    assert (await ask(api, "PATCH", "/nothing"))[0] == 404
    assert (await ask(api, "PATCH", "/blob", headers={"Authorization": "Bearer x"}))[0] == 401


async def test_a_parameter_that_is_not_read_is_refused_where_something_changes(api: Served) -> None:
    """It may be a condition, misspelled; before the body is read. Reads ignore it."""
    writer = {"Authorization": f"Bearer {WRITER}"}
    status, body, _ = await ask(api, "PUT", "/blob?if=new", data=b"x", headers=writer)
    assert (status, body["error"]) == (400, "'if': no such parameter; known: none")
    assert api.handlers.sink.parts == {}
    assert (await ask(api, "GET", "/blob?if=new"))[0] == 200


async def test_an_api_that_is_off_says_so(api: Served) -> None:
    """404 for each of its paths; 405 only for what is served without it."""
    app = make_app(api.shell, api_off())
    async with TestServer(app) as server, ClientSession() as session:
        for method, path, status, said in (
            ("GET", "/blob", 404, f"this service's API is off; set {TOKENS_FILE}"),
            ("PUT", "/metrics", 405, "/metrics takes GET, HEAD; not PUT"),
        ):
            async with session.request(method, server.make_url(path)) as answer:
                assert (answer.status, (await answer.json())["error"]) == (status, said)


async def test_the_path_of_assist_iot_leads_to_the_description(api: Served) -> None:
    """Without a token, as the page."""
    for path in ("/docs", "/api/docs"):
        status, _, headers = await ask(api, "GET", path, headers={"Authorization": ""})
        assert (status, "Content-Security-Policy" in headers) == (200, True)
    status, _, headers = await ask(api, "GET", "/api/docs", allow_redirects=False)
    assert (status, headers["Location"]) == (308, "../docs")


async def test_the_description_is_served_with_swagger_ui(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From this service's files alone; without the package as a plain page."""
    pytest.importorskip("swagger_ui_bundle")
    nobody = {"Authorization": ""}
    status, page, headers = await ask(api, "GET", "/docs", headers=nobody)
    policy = headers["Content-Security-Policy"]
    assert (status, "script-src 'self';" in policy, "unsafe" in policy) == (200, True, False)
    text = page.decode()
    assert "http://" not in text
    assert "https://" not in text
    assert "<script>" not in text
    for name, kind in (
        ("swagger-ui.css", "text/css"),
        ("swagger-ui-bundle.js", "text/javascript"),
        ("start.js", "text/javascript"),
    ):
        assert f"docs/{name}" in text
        status, body, headers = await ask(api, "GET", f"/docs/{name}", headers=nobody)
        assert (status, headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
        assert body
    for name in ("..%2f__init__.py", "index.html", "__init__.py", "swagger-ui.css.map"):
        assert (await ask(api, "GET", f"/docs/{name}", headers=nobody))[0] == 404
    status, described, _ = await ask(api, "GET", "/openapi.json", headers=nobody)
    assert (described["openapi"], described["info"]["title"]) == ("3.1.0", "test service")
    operation = described["paths"]["/blob"]["put"]
    assert operation["description"] == "The token needs the scope `models:write`."
    assert set(operation["responses"]) == {"204", "401", "403", "429"}
    _, older, _ = await ask(api, "GET", "/docs/openapi-3.0.json", headers=nobody)
    assert older["openapi"] == "3.0.3"
    assert '"null"' not in json.dumps(older)
    monkeypatch.setattr(swagger_ui, "is_installed", lambda: False)
    _, page, headers = await ask(api, "GET", "/docs", headers=nobody)
    assert b"<script" not in page
    assert b"/fail/{how}/" in page
    assert "script-src" not in headers["Content-Security-Policy"]
    assert (await ask(api, "GET", "/docs/swagger-ui.css", headers=nobody))[0] == 404


async def test_headers_that_are_too_long_or_smuggle_a_request_are_refused(api: Served) -> None:
    """With 400, before any handler; the connection is closed."""
    long = f"GET /blob HTTP/1.1\r\nHost: h\r\nX: {'x' * 100_000}\r\n\r\n"
    assert is_refused(await raw(api, long.encode()))
    many = "".join(f"X-{number}: {'x' * 100}\r\n" for number in range(5000))
    said = await raw(api, f"GET /blob HTTP/1.1\r\nHost: h\r\n{many}\r\n".encode())
    assert is_refused(said)
    hidden = b"0\r\n\r\nGET /blob HTTP/1.1\r\nHost: h\r\n\r\n"
    both = (
        f"POST /echo/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {READER}\r\n"
        f"Content-Length: {len(hidden)}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    assert is_refused(await raw(api, both + hidden))
    for field in ("Content-Length: 1\r\nContent-Length: 2", "Content-Length: -1", "Bad Name: x"):
        said = await raw(api, f"POST /echo/a HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\nx".encode())
        assert is_refused(said), field


async def test_a_client_that_sends_no_request_is_disconnected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slowly it sends a header; one request later it may be idle."""
    monkeypatch.setattr(http_connections, "FIRST_REQUEST_SECONDS", 0.3)
    async with served(tmp_path) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)

        async def drip() -> None:
            for byte in b"GET /blob HTTP/1.1\r\n" * 20:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(3):
            assert await taken(reader) == 0
        dripping.cancel()
        await end(writer)
        assert (await ask(api, "GET", "/blob"))[0] == 200
        await asyncio.sleep(0.4)
        assert (await ask(api, "GET", "/blob"))[0] == 200


async def test_the_number_of_connections_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Further ones are closed at once; when others end, there is room again."""
    monkeypatch.setattr(http, "MAX_HTTP_CONNECTIONS", 3)
    async with served(tmp_path) as api:
        held = [await asyncio.open_connection("127.0.0.1", api.port) for _ in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(ClientConnectionError):
            await ask(api, "GET", "/blob")
        for _, writer in held:
            await end(writer)
        await asyncio.sleep(0.05)
        assert (await ask(api, "GET", "/blob"))[0] == 200


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 with OpenSSL."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    line = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=h"
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(["openssl", *line.split(), *more], check=True, capture_output=True)
    return cert, key


async def test_the_api_is_served_over_tls(tmp_path: Path) -> None:
    """With the certificate and key of the settings; plain HTTP gets nothing."""
    cert, key = await asyncio.to_thread(certificate, tmp_path)
    trust = ssl.create_default_context(cafile=cert)
    async with served(tmp_path, where=HttpAddress("127.0.0.1:0", cert, key)) as api:
        url = f"https://127.0.0.1:{api.port}/blob"
        async with api.session.get(url, ssl=trust) as answer:
            assert (answer.status, await answer.read()) == (200, DATA)
        with pytest.raises(ClientConnectionError):
            await ask(api, "GET", "/blob")


def test_tls_needs_a_certificate_and_its_key(tmp_path: Path) -> None:
    """Else the service does not start, and says which setting is wrong."""
    cert, key = certificate(tmp_path)
    assert HttpAddress("127.0.0.1:1").tls() is None
    assert HttpAddress("127.0.0.1:1", cert, key).tls() is not None
    with pytest.raises(SettingsError, match="FEDBUS_HTTP_CERT and FEDBUS_HTTP_KEY: set both"):
        HttpAddress("127.0.0.1:1", cert).tls()
    for wrong in (tmp_path / "none", cert):
        with pytest.raises(SettingsError, match="expected a certificate in PEM format"):
            HttpAddress("127.0.0.1:1", cert, wrong).tls()
    locked = tmp_path / "locked.pem"
    line = ["openssl", "ec", "-in", str(key), "-aes128", "-passout", "pass:x", "-out", str(locked)]
    subprocess.run(line, check=True, capture_output=True)
    with pytest.raises(SettingsError, match=r"FEDBUS_HTTP_KEY: .*without a password"):
        HttpAddress("127.0.0.1:1", cert, locked).tls()
