"""A blob source as an open file."""

import io
import os

import pytest

from fedbus.blobs.source_file import SourceFile

CONTENT = bytes(range(100))


def opened() -> io.BufferedReader:
    """Return the content as an open file; its source returns a memoryview."""
    view = memoryview(CONTENT)
    source = SourceFile(lambda offset, length: view[offset : offset + length], len(CONTENT))
    return io.BufferedReader(source, 7)


def test_it_is_read_as_a_file_on_a_disk_is() -> None:
    """From any place, up to its end and beyond."""
    file = opened()
    assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
    assert file.read(10) == CONTENT[:10]
    assert file.seek(-20, os.SEEK_END) == 80
    assert file.read(5) == CONTENT[80:85]
    assert file.seek(5, os.SEEK_CUR) == 90
    assert (file.tell(), file.read()) == (90, CONTENT[90:])
    assert file.read(1) == b""
    file.seek(200)
    assert file.read(1) == b""
    assert file.seek(0) == 0
    assert file.read() == CONTENT


def test_a_place_before_the_beginning_is_refused() -> None:
    """As a file on a disk refuses it."""
    with pytest.raises(ValueError, match="offset -1 is before the beginning"):
        opened().seek(-101, os.SEEK_END)
