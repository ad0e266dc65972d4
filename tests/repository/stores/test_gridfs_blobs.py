"""Blobs in GridFS, on a server process: what the folder of blobs promises, and its own faults."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import gridfs
import pymongo.database
import pytest
from pymongo import MongoClient, monitoring

from fedbus.errors import StoreError, TransferError
from fedbus.wire.blobs import BlobRef, blob_ref_of
from fedbus_repository.stores.blob_storage import BlobStorage, DamagedBlobError
from fedbus_repository.stores.files import MissingBlobError
from fedbus_repository.stores.mongo import blobs as blobs_module
from fedbus_repository.stores.mongo.blobs import GridFsBlobs
from fedbus_repository.stores.mongo.connection import MongoConnection
from fedbus_repository.stores.mongo.gridfs_files import (
    CHUNKS,
    FILES,
    GRIDFS_CHUNK_BYTES,
    UNFINISHED,
)
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from tests.repository.stores.mongo_server import MongoServer

Database: TypeAlias = pymongo.database.Database[dict[str, Any]]
CHUNK_BYTES = 256 * 1024


class Commands(monitoring.CommandListener):
    """Counts the commands that the driver sends, by name and collection."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.sent.append((event.command_name, str(event.command.get(event.command_name))))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


class InjectedError(Exception):
    """Raised in place of a step, as if the process had been killed before it."""


@pytest.fixture
def commands() -> Commands:
    """What the store's driver sends."""
    return Commands()


@pytest.fixture
def connection(mongo_url: str, commands: Commands) -> Iterator[MongoConnection]:
    """A connection to an empty database."""
    connection = MongoConnection(MongoSettings(mongo_url), listeners=[commands])
    yield connection
    connection.close()


@pytest.fixture
def blobs(connection: MongoConnection, tmp_path: Path) -> Iterator[GridFsBlobs]:
    """The blobs of an empty database."""
    blobs = GridFsBlobs(connection, tmp_path / "spool")
    yield blobs
    blobs.close()


@pytest.fixture
def reopen(
    blobs: GridFsBlobs, connection: MongoConnection, tmp_path: Path
) -> Iterator[Callable[[], GridFsBlobs]]:
    """Open the same blobs again, with nothing in memory."""
    opened = [blobs]

    def again() -> GridFsBlobs:
        opened.append(GridFsBlobs(connection, tmp_path / "spool"))
        return opened[-1]

    yield again
    for each in opened:
        each.close()


@pytest.fixture
def database(mongo_url: str) -> Iterator[Database]:
    """The database of the test, through a driver of its own."""
    with MongoClient[dict[str, Any]](mongo_url) as client:
        yield client.get_default_database()


def content_of(size: int) -> bytes:
    """Some content."""
    return random.Random(size).randbytes(size)


def push(blobs: BlobStorage, content: bytes) -> BlobRef:
    """Store a blob that arrives in chunks, the last one first."""
    upload = blobs.upload(blob_ref_of(content))
    for start in reversed(range(0, len(content), CHUNK_BYTES)):
        upload.write(start, memoryview(content)[start : start + CHUNK_BYTES])
    upload.keep()
    return upload.blob_ref


@pytest.mark.parametrize(
    "size",
    [0, 1, CHUNK_BYTES, GRIDFS_CHUNK_BYTES, GRIDFS_CHUNK_BYTES + 1, 5 * GRIDFS_CHUNK_BYTES + 7],
)
def test_a_kept_blob_is_read_in_any_pieces(blobs: GridFsBlobs, size: int) -> None:
    """What is read is what was written, whatever the offsets and lengths."""
    content = content_of(size)
    blob = push(blobs, content)
    assert blobs.holds(blob)
    source = blobs.open(blob.digest)
    assert source is not None
    assert source.size == size
    chance = random.Random(size)
    pieces = [(chance.randint(0, size), chance.randint(0, 3 * CHUNK_BYTES)) for _ in range(20)]
    for offset, length in [(0, size), (0, 0), (size, 10), (max(size - 1, 0), 10), *pieces]:
        assert source.read(offset, length) == content[offset : offset + length]
    with pytest.raises(StoreError, match="negative"):
        source.read(-1, 10)


def test_chunks_that_follow_each_other_take_a_quarter_of_a_round_trip_per_megabyte(
    blobs: GridFsBlobs, commands: Commands
) -> None:
    """A transfer of 8 MiB, 32 chunks, asks the database twice; opened again it asks for nothing."""
    content = content_of(8 * 1024 * 1024)
    blob = push(blobs, content)
    source = blobs.open(blob.digest)
    assert source is not None
    commands.sent.clear()
    for start in range(0, len(content), CHUNK_BYTES):
        assert source.read(start, CHUNK_BYTES) == content[start : start + CHUNK_BYTES]
        assert source.read_now(start, CHUNK_BYTES) is not None
    assert blobs.opened(blob.digest) is source
    assert blobs.open(blob.digest) is source
    assert commands.sent == [("find", CHUNKS)] * 2


def test_a_single_read_takes_one_block(blobs: GridFsBlobs) -> None:
    """What follows no other read is not the beginning of a transfer."""
    blob = push(blobs, content_of(6 * GRIDFS_CHUNK_BYTES))
    source = blobs.open(blob.digest)
    assert source is not None
    source.read(3 * GRIDFS_CHUNK_BYTES + 5, 10)
    assert source.read_now(3 * GRIDFS_CHUNK_BYTES, GRIDFS_CHUNK_BYTES) is not None
    assert source.read_now(4 * GRIDFS_CHUNK_BYTES, 1) is None
    assert source.read_now(2 * GRIDFS_CHUNK_BYTES, 1) is None


def test_memory_for_blocks_is_bounded(
    connection: MongoConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many blobs are read, their blocks share one budget."""
    monkeypatch.setattr(blobs_module, "CACHE_BYTES", 3 * GRIDFS_CHUNK_BYTES)
    monkeypatch.setattr(blobs_module, "MAX_OPEN_BLOBS", 2)
    blobs = GridFsBlobs(connection, tmp_path / "spool")
    contents = [content_of(2 * GRIDFS_CHUNK_BYTES + n) for n in range(3)]
    stored = [push(blobs, content) for content in contents]
    for blob, content in zip(stored, contents, strict=True):
        source = blobs.open(blob.digest)
        assert source is not None
        assert source.read(0, blob.size) == content
    assert blobs.opened(stored[0].digest) is None
    assert blobs.opened(stored[2].digest) is not None
    blobs.close()


def test_content_of_another_digest_is_refused_and_stores_nothing(
    blobs: GridFsBlobs, database: Database, mongo_server: MongoServer
) -> None:
    """A bug in the transfer is found before anything reaches the database."""
    upload = blobs.upload(blob_ref_of(b"right"))
    upload.write(0, b"wrong")
    with pytest.raises(TransferError, match="expected a blob of digest"):
        upload.keep()
    assert blobs.open(blob_ref_of(b"right").digest) is None
    assert mongo_server.chunks(database.name) == set()


def test_an_upload_is_no_file_and_can_be_read_before_it_is_kept(
    blobs: GridFsBlobs, tmp_path: Path
) -> None:
    """A process that is killed leaves nothing on the local disk."""
    upload = blobs.upload(blob_ref_of(b"content"))
    upload.write(3, b"tent")
    upload.write(0, b"con")
    assert upload.read(2, 3) == b"nte"
    assert list((tmp_path / "spool").iterdir()) == []
    assert not blobs.holds(upload.blob_ref)
    upload.discard()


def test_an_upload_that_has_no_room_is_refused_at_once(
    connection: MongoConnection, tmp_path: Path
) -> None:
    """10 GB against a full local disk fail before a chunk is requested."""

    def full(step: str) -> None:
        if step == "reserve":
            raise OSError(28, "No space left on device")

    blobs = GridFsBlobs(connection, tmp_path / "spool", on_step=full)
    with pytest.raises(StoreError, match=r"reserving 10000000000 bytes: .*No space left"):
        blobs.upload(BlobRef(digest="a" * 64, size=10_000_000_000))
    blobs.close()


def test_what_an_ended_process_left_in_the_spool_folder_is_removed(
    connection: MongoConnection, tmp_path: Path
) -> None:
    """A kill between creating an upload's file and removing its name leaves the name."""
    left, other = tmp_path / "spool" / "x.0.upload", tmp_path / "spool" / "notes"
    left.parent.mkdir()
    left.touch()
    other.touch()
    GridFsBlobs(connection, tmp_path / "spool").close()
    assert (left.exists(), other.exists()) == (False, True)


def test_deleted_and_unreferenced_blobs_are_gone_with_their_chunks(
    blobs: GridFsBlobs, database: Database, mongo_server: MongoServer
) -> None:
    """Deletion is not seen by a reader that has the bytes already, only by the next one."""
    first, second, third = (push(blobs, content_of(size)) for size in (10, 20, 30))
    assert blobs.open(first.digest) is not None
    blobs.delete([first.digest, "f" * 64])
    assert blobs.open(first.digest) is None
    blobs.sweep({third.digest})
    assert [blobs.holds(each) for each in (first, second, third)] == [False, False, True]
    assert mongo_server.chunks(database.name) == {third.digest}
    assert database[UNFINISHED].count_documents({}) == 0
    with pytest.raises(MissingBlobError, match=f"the weights .*restore the blob {second.digest}"):
        blobs.require(second, "the weights of version 2")
    blobs.require(third, "the weights of version 3")


@pytest.mark.parametrize(("data", "how"), [(None, "missing"), (b"", "damaged"), (b"x", "damaged")])
def test_a_missing_or_damaged_chunk_is_named_and_healed_by_the_next_push(  # noqa: PLR0917 - fixtures
    blobs: GridFsBlobs,
    mongo_server: MongoServer,
    database: Database,
    reopen: Callable[[], GridFsBlobs],
    data: bytes | None,
    how: str,
) -> None:
    """No wrong byte is ever read; other chunks and other blobs stay readable meanwhile."""
    content, other = content_of(3 * GRIDFS_CHUNK_BYTES + 9), push(blobs, content_of(99))
    blob = push(blobs, content)
    if data == b"x":  # one bit of the whole chunk
        data = bytes([content[2 * GRIDFS_CHUNK_BYTES] ^ 1])
        data += content[2 * GRIDFS_CHUNK_BYTES + 1 : 3 * GRIDFS_CHUNK_BYTES]
    mongo_server.change_chunk(database.name, blob.digest, 2, data)
    again = reopen()
    source = again.open(blob.digest)
    assert source is not None
    with pytest.raises(DamagedBlobError) as caught:
        source.read(2 * GRIDFS_CHUNK_BYTES, CHUNK_BYTES)
    assert f"chunk 2 of 4 of blob {blob.digest} is {how}" in str(caught.value)
    assert "restore" in str(caught.value)
    assert "push the same content again" in str(caught.value)
    assert not again.holds(blob)
    assert again.holds(other)
    assert source.read(GRIDFS_CHUNK_BYTES, 9) == content[GRIDFS_CHUNK_BYTES:][:9]
    push(again, content)
    assert again.holds(blob)
    assert source.read(0, len(content)) == content


def test_content_that_is_stored_intact_is_not_written_again(
    blobs: GridFsBlobs, commands: Commands
) -> None:
    """A kill while it is pushed again loses nothing that a version needs."""
    blob = push(blobs, content_of(2 * GRIDFS_CHUNK_BYTES))
    commands.sent.clear()
    push(blobs, content_of(2 * GRIDFS_CHUNK_BYTES))
    assert {name for name, _ in commands.sent} == {"find"}
    assert blobs.holds(blob)


def test_a_document_of_no_blob_is_no_blob_and_is_replaced(
    blobs: GridFsBlobs, database: Database
) -> None:
    """What an operator or another tool wrote under a digest is not believed."""
    content = content_of(300_000)
    blob = blob_ref_of(content)
    bucket = gridfs.GridFSBucket(database)
    bucket.upload_from_stream_with_id(blob.digest, blob.digest, content[:-1] + b"?")
    assert blobs.open(blob.digest) is None
    assert not blobs.holds(blob)
    push(blobs, content)
    assert blobs.holds(blob)


def test_a_document_of_another_size_is_replaced(blobs: GridFsBlobs, database: Database) -> None:
    """A file that is longer than its blob is not the blob."""
    blob = push(blobs, b"content")
    assert not blobs.holds(BlobRef(digest=blob.digest, size=99))
    with pytest.raises(MissingBlobError):
        blobs.require(BlobRef(digest=blob.digest, size=99), "it")
    database[FILES].update_one({"_id": blob.digest}, {"$set": {"metadata": {"crc32": "0" * 16}}})
    assert not blobs.holds(blob)
    push(blobs, b"content")
    assert blobs.holds(blob)


def test_other_tools_read_the_blobs(blobs: GridFsBlobs, database: Database) -> None:
    """The format is GridFS's: PyMongo's own reader agrees with it."""
    content = content_of(2 * GRIDFS_CHUNK_BYTES + 3)
    blob = push(blobs, content)
    assert gridfs.GridFSBucket(database).open_download_stream(blob.digest).read() == content


STEPS = ("list", "insert_chunks", "insert_file", "unlist", "delete_file", "delete_chunks")
CHANGES = 9


@pytest.mark.parametrize("number", range(CHANGES + 1))
def test_a_kill_between_any_two_steps_leaves_whole_blobs_and_no_chunks(
    connection: MongoConnection,
    mongo_server: MongoServer,
    database: Database,
    tmp_path: Path,
    number: int,
) -> None:
    """After the next start a blob is complete or absent, and what was kept before is there."""
    steps: list[str] = []
    armed = [False]

    def stop(step: str) -> None:
        if armed[0] and step in STEPS:
            steps.append(step)
            if len(steps) > number:
                raise InjectedError(step)

    blobs = GridFsBlobs(connection, tmp_path / "spool", on_step=stop)
    kept, old = push(blobs, content_of(5_000)), push(blobs, content_of(6_000))
    armed[0] = True
    new = content_of(5_000_000)
    try:
        push(blobs, new)
        blobs.delete([old.digest])
    except InjectedError:
        pass
    else:
        assert number == len(steps) == CHANGES
    again = GridFsBlobs(connection, tmp_path / "again")
    assert again.holds(kept)
    complete = [blob for blob in (kept, old, blob_ref_of(new)) if again.holds(blob)]
    assert [each["_id"] for each in database[FILES].find().sort("_id", 1)] == sorted(
        blob.digest for blob in complete
    )
    assert mongo_server.chunks(database.name) == {blob.digest for blob in complete}
    assert database[UNFINISHED].count_documents({}) == 0
    push(again, new)
    assert again.holds(blob_ref_of(new))
    blobs.close()
    again.close()


def test_what_was_kept_survives_a_kill_of_the_server(
    blobs: GridFsBlobs, mongo_server: MongoServer
) -> None:
    """The server is killed right after it acknowledged the blob, and started again."""
    blob = push(blobs, content_of(3 * GRIDFS_CHUNK_BYTES))
    mongo_server.kill()
    mongo_server.start()
    assert blobs.holds(blob)
