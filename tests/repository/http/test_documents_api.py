"""Strategies, transformations and collectors over HTTP: ASSIST-IoT's paths and status codes."""

import asyncio
import errno
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("aiohttp")

from fedbus.digest import digest_of
from tests.repository.http.repository_service import (
    ADMIN,
    RepositoryService,
    form_of,
    repository_service,
    until,
)

KINDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "strategy": ({"strategy_name": "fedx", "meta": {"mu": 0.1}}, "/fedx", "strategy_id"),
    "transformation": (
        {
            "id": "scale",
            "parameter_types": {"factor": "float"},
            "default_values": {"factor": 2.0},
            "outputs": ["x"],
            "needs": {"storage": 0.1, "RAM": 1, "GPU": False},
        },
        "/scale",
        "storage_id",
    ),
    "collector": ({"name": "ours", "version": "2"}, "/ours/2", "collector_id"),
}
FILE = Random(3).randbytes(300_000)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RepositoryService]:
    """Serve a repository."""
    async with repository_service(
        tmp_path, {"reader": ("documents:read",), "other": ("models:read",)}
    ) as found:
        yield found


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_that_is_not_stored_is_refused(service: RepositoryService, kind: str) -> None:
    """In a new document and in a change; what an answer has beside the document may come back."""
    content, path, _ = KINDS[kind]
    status, body = await service.ask("POST", f"/{kind}", json={**content, "wat": 1})
    assert (status, "wat: no such key; expected " in body["error"]) == (400, True), body
    _, described = await service.ask("POST", f"/{kind}", json=content)
    assert (await service.ask("PUT", f"/{kind}/meta{path}", json=described))[0] == 204
    changed = {**described, "descripton": "x"}
    status, body = await service.ask("PUT", f"/{kind}/meta{path}", json=changed)
    assert (status, "did you mean " in body["error"]) == (400, True), body


async def test_a_key_inside_a_part_of_a_document_is_refused(service: RepositoryService) -> None:
    """As a need of a transformation."""
    needs = {"id": "scale", "needs": {"GPUs": 1}}
    status, body = await service.ask("POST", "/transformation", json=needs)
    assert (status, "needs.GPUs: no such key" in body["error"]) == (400, True), body


@pytest.mark.parametrize("kind", KINDS)
async def test_a_document_is_created_changed_and_deleted(
    service: RepositoryService, kind: str
) -> None:
    """201 created, 400 duplicate, 404 missing, 204 changed and deleted."""
    content, path, file_key = KINDS[kind]
    assert (await service.ask("GET", f"/{kind}"))[1] == []
    for method, where in (
        ("GET", f"/{kind}{path}"),
        ("GET", f"/{kind}/meta{path}"),
        ("DELETE", f"/{kind}{path}"),
    ):
        status, body = await service.ask(method, where)
        assert (status, f"there is no {kind}" in body["error"]) == (404, True)
    status, body = await service.ask("PUT", f"/{kind}{path}", data=form_of(file=FILE))
    assert status == 404
    status, body = await service.ask("POST", f"/{kind}", json=content)
    assert (status, body[file_key]) == (201, None)
    assert body.items() >= content.items() or kind == "transformation"
    status, body = await service.ask("POST", f"/{kind}", json=content)
    assert (status, "is stored already" in body["error"]) == (400, True)
    status, body = await service.ask("GET", f"/{kind}{path}")
    assert (status, "has no file yet" in body["error"]) == (404, True)
    assert (await service.ask("PUT", f"/{kind}/meta{path}", json=content))[0] == 204
    assert [each[file_key] for each in (await service.ask("GET", f"/{kind}"))[1]] == [None]
    assert (await service.ask("PUT", f"/{kind}{path}", data=form_of(file=FILE)))[0] == 204
    status, body = await service.ask("GET", f"/{kind}/meta{path}")
    assert (body[file_key], body["file_size"]) == (digest_of(FILE), len(FILE))
    assert await service.ask("GET", f"/{kind}{path}") == (200, FILE)
    assert await service.ask("GET", f"/{kind}{path}", headers={"Range": "bytes=-5"}) == (
        206,
        FILE[-5:],
    )
    assert (await service.ask("DELETE", f"/{kind}{path}"))[0] == 204
    assert (await service.ask("GET", f"/{kind}{path}"))[0] == 404
    blobs = [path for path in (service.data / "blobs").rglob("*") if path.is_file()]
    assert blobs == []
    assert service.files() == []


async def test_a_file_is_uploaded_in_each_way(service: RepositoryService) -> None:
    """As a form, as a body, and as a body with its digest, which goes to the store at once."""
    await service.ask("POST", "/strategy", json={"strategy_name": "fedx"})
    for number, (headers, form) in enumerate(
        (
            ({}, True),
            ({}, False),
            ({"Fedbus-Digest": "stated"}, False),
            ({"Fedbus-Digest": ""}, True),
        )
    ):
        data = FILE + bytes([number])
        stated = {"Fedbus-Digest": digest_of(data)} if headers else {}
        status, body, answer = await service.ask_all(
            "PUT", "/strategy/fedx", data=form_of(file=data) if form else data, headers=stated
        )
        assert (status, answer.get("ETag")) == (204, f'"{digest_of(data)}"'), body
        assert await service.ask("GET", "/strategy/fedx") == (200, data)
        assert service.files() == []
    again = {"Fedbus-Digest": digest_of(data)}
    assert (await service.ask("PUT", "/strategy/fedx", data=data, headers=again))[0] == 204


async def test_who_knows_only_a_digest_does_not_get_its_blob(service: RepositoryService) -> None:
    """A token that may not read models would else read them as the file of its strategy."""
    await service.ask("POST", "/collector", json={"name": "ours", "version": "2"})
    await service.ask("PUT", "/collector/ours/2", data=FILE)
    await service.ask("POST", "/strategy", json={"strategy_name": "fedx"})
    stated = {"Fedbus-Digest": digest_of(FILE)}
    status, body = await service.ask("PUT", "/strategy/fedx", data=bytes(len(FILE)), headers=stated)
    assert (status, "the file has the digest" in body["error"]) == (400, True)
    assert (await service.ask("GET", "/strategy/fedx"))[0] == 404
    assert (await service.ask("PUT", "/strategy/fedx", data=FILE, headers=stated))[0] == 204
    assert await service.ask("GET", "/strategy/fedx") == (200, FILE)


async def test_a_file_that_is_not_what_it_should_be_is_refused(
    service: RepositoryService,
) -> None:
    """With the reason; the file before stays, and nothing else is left."""
    await service.ask("POST", "/strategy", json={"strategy_name": "fedx"})
    await service.ask("PUT", "/strategy/fedx", data=FILE)
    other = {"Fedbus-Digest": digest_of(b"other")}
    for data, headers, status, sentence in (
        (FILE[1:], other, 400, "expected a blob of digest"),
        (FILE[1:], {"Fedbus-Digest": "../../x"}, 400, "64 hexadecimal digits"),
        (form_of(file=FILE[1:]), other, 400, "expected a blob of digest"),
        (form_of(file=b"a", file2=b"b"), {}, 400, "expected one file in the form, got several"),
        (form_of(), {}, 400, "an empty form"),
        (b"x", {"Content-Type": "multipart/form-data; boundary=y"}, 400, ""),
        (b"x", {"Content-Type": "multipart/form-data"}, 400, ""),
    ):
        got, body = await service.ask("PUT", "/strategy/fedx", data=data, headers=headers)
        assert (got, sentence in body["error"]) == (status, True), body
        assert service.files() == []
    assert await service.ask("GET", "/strategy/fedx") == (200, FILE)
    blobs = [path for path in (service.data / "blobs").rglob("*") if path.is_file()]
    assert len(blobs) == 1


async def test_an_upload_that_stops_half_way_leaves_nothing(service: RepositoryService) -> None:
    """Whichever way it came."""
    await service.ask("POST", "/strategy", json={"strategy_name": "fedx"})
    port = int(service.url.rpartition(":")[2])
    for stated in ("", f"Fedbus-Digest: {digest_of(FILE)}\r\n"):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        head = (
            f"PUT /strategy/fedx HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {ADMIN}\r\n{stated}"
            f"Content-Length: {len(FILE)}\r\n\r\n"
        )
        writer.write(head.encode() + FILE[:200_000])
        await writer.drain()
        async with asyncio.timeout(5):
            await until(lambda: bool(service.files()))
            found = writer.get_extra_info("socket")
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.close()
            await until(lambda: not service.files())
    assert (await service.ask("GET", "/strategy/fedx"))[0] == 404


async def test_uploads_go_on_after_their_folder_was_deleted(service: RepositoryService) -> None:
    """It is made again for the next one."""
    await service.ask("POST", "/strategy", json={"strategy_name": "fedx"})
    shutil.rmtree(service.data / "uploads")
    assert (await service.ask("PUT", "/strategy/fedx", data=FILE))[0] == 204
    assert (await service.ask("GET", "/strategy/fedx"))[1] == FILE


async def test_an_upload_larger_than_the_disk_is_refused_at_once(
    service: RepositoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 507, before its body is sent."""
    await service.ask("POST", "/strategy", json={"strategy_name": "fedx"})

    def full(_fd: int, _offset: int, size: int) -> None:
        if size > 2**30:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    port = int(service.url.rpartition(":")[2])
    for stated in ("", f"Fedbus-Digest: {digest_of(FILE)}\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = (
            f"PUT /strategy/fedx HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {ADMIN}\r\n{stated}"
            f"Content-Length: {10 * 2**30}\r\n\r\n"
        )
        writer.write(head.encode())
        async with asyncio.timeout(5):
            answer = await reader.readuntil(b"}")
        assert answer.startswith(b"HTTP/1.1 507"), answer
        assert b"reserving 10737418240 bytes" in answer
        assert b"No space left on device" in answer
        writer.close()
    assert service.files() == []


@pytest.mark.parametrize(
    ("number", "status", "remedy"),
    [
        (errno.EROFS, 503, "mount its disk with write access"),
        (errno.EIO, 503, "the disk is failing"),
        (errno.EMFILE, 503, "limit of open files"),
    ],
)
async def test_an_upload_to_a_faulty_disk_says_how_to_mend_it(
    service: RepositoryService,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    status: int,
    remedy: str,
) -> None:
    """With the status of its fault, which is not always a full disk."""
    await service.ask("POST", "/strategy", json={"strategy_name": "fedx"})

    def faulty(*_: object) -> None:
        raise OSError(number, "a fault")

    monkeypatch.setattr("os.posix_fallocate", faulty)
    got, body, headers = await service.ask_all("PUT", "/strategy/fedx", data=FILE)
    assert (got, remedy in body["error"]) == (status, True), body
    assert headers.get("Retry-After") == ("10" if number == errno.EMFILE else None)
    assert service.files() == []


async def test_a_file_that_is_missing_from_the_store_is_damage(service: RepositoryService) -> None:
    """With 500, and what to do; the document itself is found."""
    await service.ask("POST", "/strategy", json={"strategy_name": "fedx"})
    await service.ask("PUT", "/strategy/fedx", data=FILE)
    (digest,) = service.blobs()
    (service.data / "blobs" / digest[:2] / digest).unlink()
    status, body = await service.ask("GET", "/strategy/fedx")
    assert (status, "upload it again" in body["error"]) == (500, True)


async def test_so_much_is_received_at_a_time(
    service: RepositoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Further uploads are told to come back."""
    monkeypatch.setattr("fedbus_repository.http.received_files.MAX_UPLOADS_AT_ONCE", 0)
    await service.ask("POST", "/strategy", json={"strategy_name": "fedx"})
    status, body, headers = await service.ask_all("PUT", "/strategy/fedx", data=FILE)
    assert (status, headers["Retry-After"]) == (503, "10")
    assert "try again later" in body["error"]


async def test_documents_are_checked_and_listed_in_pages(service: RepositoryService) -> None:
    """What is no document is refused with its field."""
    for content, sentence in (
        (b"{bad", "not JSON"),
        (b"[]", "StrategyDocument"),
        (b'{"strategy_name": "../x"}', "strategy_name: not 1 to 64 letters"),
        (b'{"strategy_name": "a", "strategy_name": "b"}', "strategy_name"),
        (b'{"strategy_name": "a", "meta": ' + b"[" * 50 + b"]" * 50 + b"}", "levels of nesting"),
        (b'{"strategy_name": "a", "meta": {"x": NaN}}', "NaN"),
    ):
        status, body = await service.ask("POST", "/strategy", data=content)
        assert (status, sentence in body["error"]) == (400, True), body
    assert (await service.ask("POST", "/strategy", data=b" " * 70_000))[0] == 413
    for name in ("b", "a", "c"):
        await service.ask("POST", "/strategy", json={"strategy_name": name})

    async def names(query: str) -> list[str]:
        return [
            each["strategy_name"] for each in (await service.ask("GET", f"/strategy{query}"))[1]
        ]

    assert await names("") == ["a", "b", "c"]
    assert await names("?limit=2") == ["a", "b"]
    assert await names("?limit=2&after=b") == ["c"]
    for query in ("limit=0", "limit=201", "limit=x", "limit=-1", "limit=" + "9" * 30):
        assert (await service.ask("GET", f"/strategy?{query}"))[0] == 400
    for odd in ("limit=0000000011111", "limit=%D9%A3", "after=%80", "after=%C3%A4", "after=%F0%9F"):
        assert (await service.ask("GET", f"/strategy?{odd}"))[0] == 400, odd
    for odd in ("after=%00", "after=%27%20OR%201=1", "after=" + "x" * 2000):
        assert (await service.ask("GET", f"/strategy?{odd}"))[0] == 200, odd
    for odd in ("model=..", "model=a&after=x", "model=a&after=" + "9" * 30, "trained=maybe"):
        assert (await service.ask("GET", f"/model?{odd}"))[0] == 400, odd
    status, body = await service.ask("PUT", "/strategy/meta/a", json={"strategy_name": "b"})
    assert (status, body["error"]) == (400, "strategy_name: 'b' in the body, a in the path")
    assert (await service.ask("PUT", "/strategy/meta/a", json={"meta": {"x": 1}}))[0] == 204
    assert (await service.ask("GET", "/strategy/meta/a"))[1]["meta"] == {"x": 1}
    assert (await service.ask("PUT", "/strategy/meta/z", json={}))[0] == 404
    assert (await service.ask("PUT", "/strategy/meta/a", json=[]))[0] == 400


async def test_each_scope_allows_its_own(service: RepositoryService) -> None:
    """403 names the scope that lacks."""
    reader, other = ({"Authorization": f"Bearer {name * 20}"} for name in ("reader", "other"))
    assert (await service.ask("GET", "/strategy", headers=reader))[0] == 200
    status, body = await service.ask("POST", "/strategy", json={}, headers=reader)
    assert (status, body["error"]) == (403, "token reader does not have the scope documents:write")
    assert (await service.ask("GET", "/strategy", headers=other))[0] == 403
    assert (await service.ask("GET", "/model", headers=other))[0] == 200
