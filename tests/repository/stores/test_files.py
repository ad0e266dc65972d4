"""Blobs as files: written in any order, hashed while they arrive, served from open files."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedbus.errors import StoreError, TransferError
from fedbus.wire.blobs import blob_ref_of
from fedbus_repository.stores import files
from fedbus_repository.stores.files import BlobFolder, blob_path
from fedbus_repository.stores.upload import HASH_BLOCK_BYTES
from tests.open_files import open_files_in

CHUNK_BYTES = 256 * 1024


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[BlobFolder]:
    """An empty folder."""
    folder = BlobFolder(tmp_path)
    yield folder
    folder.close()


def large(size: int = 3 * HASH_BLOCK_BYTES + 12345) -> bytes:
    """Some content."""
    return random.Random(size).randbytes(size)


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), size=st.integers(0, 3 * HASH_BLOCK_BYTES))
def test_chunks_arrive_in_any_order_and_more_than_once(
    folder: BlobFolder, seed: int, size: int
) -> None:
    """However they come, what is kept is what the digest names."""
    chance = random.Random(seed)
    content = chance.randbytes(size)
    starts = list(range(0, max(size, 1), CHUNK_BYTES))
    starts += chance.sample(starts, len(starts) // 3)
    chance.shuffle(starts)
    upload = folder.upload(blob_ref_of(content))
    for start in starts:
        upload.write(start, memoryview(content)[start : start + CHUNK_BYTES])
    upload.keep()
    source = folder.open(blob_ref_of(content).digest)
    assert source is not None
    assert source.read(0, size) == content
    assert folder.holds(blob_ref_of(content))


@pytest.mark.parametrize("missing", [0, 5, 12])
def test_a_blob_with_a_hole_is_refused(folder: BlobFolder, missing: int) -> None:
    """A bug in the transfer is found here at the latest."""
    content = large()
    upload = folder.upload(blob_ref_of(content))
    for start in range(0, len(content), CHUNK_BYTES):
        if start != missing * CHUNK_BYTES:
            upload.write(start, content[start : start + CHUNK_BYTES])
    with pytest.raises(TransferError):
        upload.keep()


def test_an_upload_is_discarded_while_it_is_hashed(folder: BlobFolder, tmp_path: Path) -> None:
    """Its file is closed only once the thread that hashes has ended."""
    content = large()
    for _ in range(20):
        upload = folder.upload(blob_ref_of(content))
        upload.write(0, content)
        upload.discard()
    assert list((tmp_path / "uploads").iterdir()) == []


def test_what_cannot_be_read_back_is_the_stores_fault(folder: BlobFolder) -> None:
    """The thread that hashes reports it at the end."""
    content = large()
    upload = folder.upload(blob_ref_of(content))
    unreadable = os.open(upload.path, os.O_WRONLY)
    os.dup2(unreadable, upload.fd)
    os.close(unreadable)
    upload.write(0, content)
    with pytest.raises(StoreError, match="Bad file descriptor"):
        upload.keep()


def test_a_damaged_blob_is_not_held_and_is_healed_by_the_next(
    folder: BlobFolder, tmp_path: Path
) -> None:
    """A disk may rot; the blob is fetched again, and read from its new file."""
    content = large(1000)
    for _ in range(2):
        upload = folder.upload(blob_ref_of(content))
        upload.write(0, content)
        upload.keep()
        assert folder.holds(blob_ref_of(content))
        blob_path(tmp_path, blob_ref_of(content).digest).write_bytes(bytes(1000))
        assert not folder.holds(blob_ref_of(content))


def test_a_bounded_number_of_files_stays_open(
    folder: BlobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is still being served stays readable, closed or deleted."""
    monkeypatch.setattr(files, "MAX_OPEN_FILES", 2)
    contents = [large(size) for size in (10, 20, 30)]
    for content in contents:
        upload = folder.upload(blob_ref_of(content))
        upload.write(0, content)
        upload.keep()
    before = open_files_in(tmp_path)
    sources = [folder.open(blob_ref_of(content).digest) for content in contents]
    folder.delete(blob_ref_of(content).digest for content in contents)
    assert [source.read(0, 30) for source in sources if source] == contents
    assert folder.open(blob_ref_of(contents[2]).digest) is None
    assert open_files_in(tmp_path) == before + len(contents)
    del sources
    assert open_files_in(tmp_path) == before


def test_a_file_that_cannot_be_read_says_where(folder: BlobFolder) -> None:
    """Serving it fails with the store's error, which the shell can tell from a mistake."""
    content = large(1000)
    upload = folder.upload(blob_ref_of(content))
    upload.write(0, content)
    upload.keep()
    source = folder.open(blob_ref_of(content).digest)
    assert source is not None
    with pytest.raises(StoreError, match=r"reading a blob: .*Invalid argument"):
        source.read(-1, 10)
