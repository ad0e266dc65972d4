"""Uploads of versions over HTTP: written once, space first, and nothing of one that breaks off."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp")

from fedbus.http_api.responses import ApiError
from fedbus.wire.messages import PushModel
from fedbus_repository.http.refusals import accepted
from fedbus_repository.stores.base import Upload
from fedbus_repository.stores.record_store import RecordStore
from fedbus_repository.stores.records import StoreRefusal
from tests.repository.harness import FILE, MODEL, spec, weights
from tests.repository.http.repository_service import (
    ADMIN,
    RepositoryService,
    form_of,
    repository_service,
    until,
)
from tests.repository.http.test_models_api import npz, stated

UPLOAD = f"/model/{MODEL}/1"
PART = b'--parts\r\nContent-Disposition: form-data; name="%s"; filename="a"\r\n\r\n%s\r\n'


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RepositoryService]:
    """Serve a repository with one draft."""
    async with repository_service(tmp_path) as found:
        assert (await found.ask("POST", "/model", json=stated()))[0] == 201
        yield found


def head_of(length: int) -> bytes:
    """Return the head of a request that uploads a form of `length` bytes."""
    return (
        f"PUT {UPLOAD} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {ADMIN}\r\n"
        f"Content-Type: multipart/form-data; boundary=parts\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_a_refusal_of_the_store_has_the_status_of_its_kind() -> None:
    """For all handlers."""
    assert accepted(5) == 5
    with pytest.raises(ApiError, match="no such model") as caught:
        accepted(StoreRefusal("no such model", kind="unknown"))
    assert caught.value.status == 404


@pytest.mark.parametrize("in_form", [True, False])
async def test_weights_and_files_are_written_once(
    service: RepositoryService, monkeypatch: pytest.MonkeyPatch, *, in_form: bool
) -> None:
    """The disk gets each byte of them, and of the spec, one time."""
    written: list[int] = []
    write = os.pwrite

    def counted(file: int, data: memoryview, offset: int) -> int:
        written.append(len(data))
        return write(file, data, offset)

    if not in_form:
        form = form_of(file=FILE, weights=weights(1.0))
        assert (await service.ask("PUT", UPLOAD, data=form))[0] == 204
        assert (await service.ask("POST", "/model", json=stated()))[0] == 201
    monkeypatch.setattr(os, "pwrite", counted)
    data = form_of(file=FILE, weights=weights(2.0)) if in_form else weights(2.0)
    path = UPLOAD if in_form else f"/model/{MODEL}/2"
    assert (await service.ask("PUT", path, data=data))[0] == 204
    size = len(FILE) + len(spec()) if in_form else 0
    assert sum(written) == size + len(weights(2.0))
    assert await service.ask("GET", f"/model/{MODEL}/latest") == (200, weights(2.0))
    assert service.files() == []


async def test_the_space_of_what_is_still_to_come_is_reserved(
    service: RepositoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all parts together never more than the request has, and of an .npz file both forms."""
    reserved: list[int] = []

    def reserve(_file: int, _offset: int, size: int) -> None:
        reserved.append(size)

    monkeypatch.setattr("os.posix_fallocate", reserve)
    archive = npz(1.0)
    form = form_of(file=FILE, weights=archive)
    status, body = await service.ask("PUT", UPLOAD, data=form)
    assert status == 204, body
    length, rest, converted, stated_spec = reserved
    assert length > len(FILE) + len(archive)
    assert rest == length - len(FILE)
    assert (converted, stated_spec) == (len(weights(1.0)), len(spec()))


async def test_an_upload_that_does_not_fit_is_refused_before_it_is_sent(
    service: RepositoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 507; the space of an .npz file's weights is looked for when it begins."""

    def full(_file: int, _offset: int, size: int) -> None:
        if size == limit:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    limit = 1000
    port = int(service.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head_of(limit))
    async with asyncio.timeout(5):
        answer = await reader.readuntil(b"}")
    writer.close()
    assert answer.startswith(b"HTTP/1.1 507"), answer
    assert "reserving 1000 bytes" in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    limit = len(weights(1.0))
    form = form_of(weights=npz(1.0), file=FILE)
    status, body = await service.ask("PUT", UPLOAD, data=form)
    assert (status, f"reserving {limit} bytes" in body["error"]) == (507, True), body
    assert (service.files(), service.blobs()) == ([], [])


@pytest.mark.parametrize("received", [0, 1])
async def test_an_upload_that_breaks_off_leaves_nothing(
    service: RepositoryService, received: int
) -> None:
    """In its first part or its second; no blob of it can be seen, and the draft stays."""
    port = int(service.url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head_of(500_000) + (PART % (b"file", FILE)))
    if received:
        writer.write((PART % (b"weights", weights(1.0)))[:-5])
    async with asyncio.timeout(10):
        while len(service.files()) <= received:
            writer.write(b"more of the part")
            await writer.drain()
            await asyncio.sleep(0.02)
    assert service.blobs() == []
    linger = b"\1\0\0\0\0\0\0\0"
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.close()
    await until(lambda: not service.files())
    assert service.blobs() == []
    assert (await service.ask("GET", UPLOAD))[0] == 404
    form = form_of(weights=weights(1.0), file=FILE)
    assert (await service.ask("PUT", UPLOAD, data=form))[0] == 204


async def test_a_blob_that_cannot_be_kept_leaves_no_other(
    service: RepositoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were kept before it are deleted, and the upload can be repeated."""
    calls: list[str] = []
    replace = Path.replace

    def third(path: Path, target: Any) -> Path:  # noqa: ANN401 - pathlib's
        calls.append(path.name)
        if len(calls) == 3:
            raise OSError(5, "Input/output error")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", third)
    form = {"weights": weights(1.0), "file": FILE}
    status, body = await service.ask("PUT", UPLOAD, data=form_of(**form))
    assert (status, "the disk is failing" in body["error"]) == (503, True)
    assert (len(calls), service.files(), service.blobs()) == (3, [], [])
    assert (await service.ask("PUT", UPLOAD, data=form_of(**form)))[0] == 204


async def test_a_version_that_the_store_refuses_leaves_no_blob(
    service: RepositoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a job of the model began between the check and the insert."""

    def refused(_store: RecordStore, _message: PushModel, _files: Upload) -> StoreRefusal:
        return StoreRefusal("model digits is in training")

    monkeypatch.setattr(RecordStore, "push", refused)
    form = form_of(weights=weights(1.0), file=FILE)
    status, body = await service.ask("PUT", UPLOAD, data=form)
    assert (status, body["error"]) == (409, "model digits is in training")
    assert (service.files(), service.blobs()) == ([], [])
