"""A blob in a file: served as long as it is held, named by its content, errors with their place."""

import errno
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.blobs import files
from fedbus.blobs.block_cache import BlockCache
from fedbus.blobs.files import FileBlob, open_blob
from fedbus.digest import digest_of, digest_of_file
from fedbus.errors import StoreError
from tests.open_files import open_files_in


def test_a_blob_is_read_at_any_offset_and_named_by_its_content(tmp_path: Path) -> None:
    """What lies beyond its end is empty, not an error."""
    path = tmp_path / "blob"
    path.write_bytes(b"weights")
    blob = open_blob(path)
    assert (blob.size, blob.read(2, 3), blob.read(5, 99), blob.read(7, 1)) == (
        7,
        b"igh",
        b"ts",
        b"",
    )
    assert blob.digest() == digest_of(b"weights")


def test_a_blob_outlives_the_name_of_its_file_and_closes_it_in_the_end(tmp_path: Path) -> None:
    """A version may be removed while it is still being sent; then its room must be free."""
    path = tmp_path / "blob"
    path.write_bytes(b"weights")
    before = open_files_in(tmp_path)
    blob = open_blob(path)
    path.unlink()
    assert blob.read(0, 7) == b"weights"
    del blob
    assert open_files_in(tmp_path) == before


def test_an_unreadable_blob_is_named_with_the_reason(tmp_path: Path) -> None:
    """The operator of the node must be able to find the disk."""
    blob = FileBlob(os.open(tmp_path, os.O_RDONLY), tmp_path)
    for use in (blob.digest, lambda: blob.read(0, 1)):
        with pytest.raises(StoreError, match=f"reading a blob: {tmp_path}: Is a directory"):
            use()


def test_a_file_that_is_not_there_is_told_by_its_own_error(tmp_path: Path) -> None:
    """A caller that looks for a blob asks for nothing else."""
    with pytest.raises(FileNotFoundError):
        open_blob(tmp_path / "gone")


@given(size=st.integers(0, 3 * 2**20))
def test_a_files_digest_is_that_of_its_bytes_wherever_it_is_read_from(size: int) -> None:
    """Of any number of blocks; its position stays, since others may write there."""
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    file = os.memfd_create("blob")
    try:
        os.pwrite(file, data, 0)
        os.lseek(file, size // 2, os.SEEK_SET)
        assert digest_of_file(file) == digest_of(data)
        assert os.lseek(file, 0, os.SEEK_CUR) == size // 2
    finally:
        os.close(file)


def test_a_blob_may_be_the_beginning_of_its_file(tmp_path: Path) -> None:
    """What follows is neither read nor hashed."""
    path = tmp_path / "file"
    path.write_bytes(b"content and more")
    blob = FileBlob(os.open(path, os.O_RDONLY), path, 7)
    assert (blob.read(0, 99), blob.read(4, 99), blob.read(9, 99)) == (b"content", b"ent", b"")
    assert blob.digest() == digest_of(b"content")


def drop_from_memory(path: Path) -> None:
    """Have the kernel forget a file's content, so that the next read waits for the disk."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


@pytest.mark.skipif(not files.NO_WAIT, reason="the system has no preadv with RWF_NOWAIT")
def test_what_is_not_in_memory_is_left_to_read(tmp_path: Path) -> None:
    """And is in memory afterwards, with what follows it."""
    content = random.Random(1).randbytes(3 * 2**20)
    path = tmp_path / "blob"
    path.write_bytes(content)
    blob = open_blob(path)
    assert blob.read_now(0, 5) == content[:5]
    drop_from_memory(path)
    if blob.read_now(2**20, 2**18) is not None:
        pytest.skip("the file system keeps the content in memory")
    assert blob.read(2**20, 2**18) == content[2**20 :][: 2**18]
    assert blob.read_now(2**20, 2**18) == content[2**20 :][: 2**18]
    assert not (found := blob.read_now(2**20 - 5, 5)) or found == content[2**20 - 5 : 2**20]
    assert not (found := blob.read_now(3 * 2**20 - 2, 99)) or found == content[-2:]
    assert blob.read_now(3 * 2**20, 99) == b""


def test_where_the_file_system_cannot_say_a_block_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One wait in a thread serves four chunks; the number of kept blocks is bounded."""
    monkeypatch.setattr(files, "NO_WAIT", 0)
    monkeypatch.setattr(files, "_kept_blocks", BlockCache(2 * 2**20))
    content = random.Random(1).randbytes(2**20 + 2**19)
    path = tmp_path / "blob"
    path.write_bytes(content)
    blob = open_blob(path)
    waits = 0
    for start in range(0, len(content), 2**18):
        found = blob.read_now(start, 2**18)
        if found is None:
            waits += 1
            found = blob.read(start, 2**18)
        assert found == content[start : start + 2**18]
    assert waits == 2
    assert blob.read_now(2**20 - 3, 6) is None
    assert blob.read(2**20 - 3, 6) == content[2**20 - 3 : 2**20 + 3]


def test_a_file_system_that_refuses_the_question_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tmpfs and overlayfs do; other errors are the file's."""
    path = tmp_path / "blob"
    path.write_bytes(b"weights")
    asked: list[int] = []

    def refuse(_file: int, _views: object, _offset: int, flags: int) -> int:
        asked.append(flags)
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(files, "NO_WAIT", 8)
    monkeypatch.setattr(os, "preadv", refuse)
    blob = open_blob(path)
    assert blob.read_now(0, 3) is None
    assert blob.read(0, 3) == b"wei"
    assert blob.read_now(3, 4) == b"ghts"
    assert asked == [8]

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(StoreError, match=r"reading a blob: .*blob: Input/output error"):
        open_blob(path).read_now(0, 3)
