"""A real disk of 1 GiB that is full, read-only, or too small for what arrives."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fedbus.cli.main import app
from fedbus.errors import StoreError
from fedbus.simulation.oracle import check_records
from fedbus.wire.blobs import BlobRef, blob_ref_of
from fedbus.wire.documents import TensorSpec
from fedbus.wire.messages import RequestRefused
from fedbus_repository.core import RepositoryCore
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.repository.harness import (
    REPOSITORY,
    Harness,
    begin,
    commit_next,
    load,
    plan_next,
    push_of,
    put,
    record_of,
    spec,
    weights,
)
from tests.repository.http.repository_service import ADMIN, repository_service

DISK_BYTES = 2**30
LARGE_BYTES = 10 * 2**30


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    if subprocess.run(line, capture_output=True, check=False).returncode:
        pytest.skip("mount needs rights")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def remount(disk: Path, mode: str) -> None:
    """Make the disk `ro` or `rw`."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte free."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        found = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize)
    return filler


def run(*words: str | Path) -> Result:
    """Run `fedbus store …`."""
    return CliRunner().invoke(app, ["store", *map(str, words)])


def test_a_full_disk_is_named_and_work_resumes(disk: Path, tmp_path: Path) -> None:
    """The last model is readable, and the store can be backed up to another disk."""
    store = SqliteStore(disk / "data", keep=3)
    begin(store)
    version = commit_next(store, 1.0).version
    record = record_of(plan_next(store))
    filler = fill(disk)
    with pytest.raises(StoreError, match=r"No space left on device, .* free; free space on this"):
        put(store, weights(2.0))
    assert store.holds(version.weights)
    assert load(store).rounds == 1
    assert run("check", disk / "data").exit_code == 0
    assert run("backup", disk / "data", tmp_path / "backup").exit_code == 0
    full = run("backup", disk / "data", disk / "backup")
    assert full.exit_code == 1
    assert "No space left on device" in full.output.replace("\n", " ")
    filler.unlink()
    store.commit(record, put(store, weights(2.0)))
    assert check_records(store).versions == 3
    store.close()
    assert run("backup", disk / "data", disk / "backup").exit_code == 0
    for place in (disk / "data", disk / "backup", tmp_path / "backup"):
        assert run("check", place).exit_code == 0


def test_a_stopped_store_on_a_full_disk_can_be_checked_and_copied(
    disk: Path, tmp_path: Path
) -> None:
    """An operator looks at it before space is made; its repository says why it does not start."""
    store = SqliteStore(disk / "data", keep=3)
    begin(store)
    store.close()
    filler = fill(disk)
    assert run("check", disk / "data").exit_code == 0
    assert run("migrate", disk / "data", tmp_path / "copy").exit_code == 0
    with pytest.raises(StoreError, match=str(disk)):
        SqliteStore(disk / "data")
    assert run("migrate", disk / "data", disk / "copy").exit_code == 1
    filler.unlink()
    assert run("migrate", disk / "data", disk / "copy").exit_code == 0
    for place in (disk / "data", disk / "copy", tmp_path / "copy"):
        SqliteStore(place).close()
        assert run("check", place).exit_code == 0


def test_a_disk_that_can_only_be_read_is_named(disk: Path, tmp_path: Path) -> None:
    """A repository says at its start what to do; its store can be checked and backed up."""
    store = SqliteStore(disk / "data", keep=3)
    begin(store)
    commit_next(store, 1.0)
    store.close()
    remount(disk, "ro")
    with pytest.raises(StoreError, match=r"Read-only file system; mount its disk with write"):
        SqliteStore(disk / "data")
    assert run("check", disk / "data").exit_code == 0
    assert run("backup", disk / "data", tmp_path / "backup").exit_code == 0
    remount(disk, "rw")
    store = SqliteStore(disk / "data", keep=3)
    commit_next(store, 2.0)
    assert check_records(store).versions == 3
    store.close()


def test_a_push_larger_than_the_disk_is_refused_at_once(disk: Path) -> None:
    """The sender is told over the bus, before its weights are fetched; nothing is filled."""
    store = SqliteStore(disk / "data")
    harness = Harness(RepositoryCore(REPOSITORY, store))
    harness.connect()
    layout = (TensorSpec(name="w", shape=(LARGE_BYTES // 4,), dtype="float32"),)
    stated = spec(layout=layout, architectures={"torch": {"name": "mlp"}})
    harness.serve(stated)
    blob = BlobRef(digest="a" * 64, size=LARGE_BYTES + 64)
    message = push_of(blob_ref_of(stated), blob)
    [answer] = harness.receive("user.cli", message)
    assert isinstance(answer, RequestRefused)
    assert f"{blob.size} bytes are needed and " in answer.reason
    assert "free space on this disk" in answer.reason
    assert harness.fetching == {}
    assert list((disk / "data" / "uploads").iterdir()) == []
    store.close()


async def test_an_upload_larger_than_the_disk_is_refused_over_http(disk: Path) -> None:
    """With 507 and the numbers, before its body is sent."""
    async with repository_service(disk) as service:
        await service.ask("POST", "/strategy", json={"strategy_name": "fedx"})
        port = int(service.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = (
            f"PUT /strategy/fedx HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {ADMIN}\r\n"
            f"Content-Length: {LARGE_BYTES}\r\n\r\n"
        )
        writer.write(head.encode())
        async with asyncio.timeout(5):
            answer = await reader.readuntil(b"}")
        writer.close()
        assert answer.startswith(b"HTTP/1.1 507"), answer
        reason = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert f"{LARGE_BYTES} bytes are needed" in str(reason)
        assert service.files() == []
