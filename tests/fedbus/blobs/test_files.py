"""A blob in a file: served as long as it is held, named by its content, errors with their place."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
