"""Statuses of HTTP for what is wrong with a store."""

import errno
import json
import os
from pathlib import Path
from typing import get_args

import pytest

pytest.importorskip("aiohttp")

from fedbus.atomic_write import os_errors_as_store_errors
from fedbus.blobs.files import open_blob
from fedbus.errors import (
    RequestRefusalKind,
    StoreDamagedError,
    StoreError,
    StoreFault,
    StoreFullError,
    StoreUnreachableError,
    StoreUnusableError,
)
from fedbus.http_api.responses import REFUSAL_STATUSES, refusal_of, response_of


class OwnKindError(StoreUnreachableError):
    """A kind that the table does not name."""


@pytest.mark.parametrize(
    ("kind", "status", "retry"),
    [
        (StoreFullError, 507, None),
        (StoreUnreachableError, 503, "10"),
        (OwnKindError, 503, "10"),
        (StoreUnusableError, 503, None),
        (StoreDamagedError, 500, None),
        (StoreError, 500, None),
    ],
)
def test_each_kind_has_its_status(kind: type[StoreError], status: int, retry: str | None) -> None:
    """With the error's own sentence, and a time to come back where a later attempt may succeed."""
    answer = response_of(kind("writing: /data: mend it so"))
    assert (answer.status, answer.headers.get("Retry-After")) == (status, retry)
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body)["error"] == "writing: /data: mend it so"


def test_every_fault_is_in_the_table() -> None:
    """And has a class of its own."""
    kinds = [StoreFullError, StoreUnreachableError, StoreUnusableError, StoreDamagedError]
    assert sorted(each.fault for each in (*kinds, StoreError)) == sorted(get_args(StoreFault))
    assert set(REFUSAL_STATUSES) == set(get_args(RequestRefusalKind))
    own = {"invalid": 400, "unknown": 404, "conflict": 409}
    assert set(get_args(RequestRefusalKind)) == set(own) | set(get_args(StoreFault))
    assert {kind: refusal_of(kind, "why").status for kind in own} == own  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "status", "retry", "remedy"),
    [
        (errno.ENOSPC, 507, None, "free space on this disk"),
        (errno.EDQUOT, 507, None, "ask for a larger quota"),
        (errno.EROFS, 503, None, "mount its disk with write access"),
        (errno.EIO, 503, None, "the disk is failing: read the kernel's log"),
        (errno.EACCES, 503, None, "let the user of this process read and write it"),
        (errno.ENOENT, 503, None, "/data: No such file or directory"),
        (errno.EMFILE, 503, "10", "the process's limit of open files"),
    ],
)
def test_a_fault_of_a_disk_has_the_status_of_its_kind(
    number: int, status: int, retry: str | None, remedy: str
) -> None:
    """And says how to mend it."""
    with (
        pytest.raises(StoreError) as caught,
        os_errors_as_store_errors(Path("/data"), "writing 5 bytes"),
    ):
        raise OSError(number, os.strerror(number))
    answer = response_of(caught.value)
    assert (answer.status, answer.headers.get("Retry-After")) == (status, retry)
    assert str(caught.value).startswith("writing 5 bytes: /data: ")
    assert remedy in str(caught.value)


def test_a_blob_that_cannot_be_read_says_how_to_mend_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a file that cannot be written does."""
    (tmp_path / "blob").write_bytes(b"content")
    blob = open_blob(tmp_path / "blob")

    def failing(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(StoreUnusableError, match=r"reading a blob: .*the disk is failing"):
        blob.read(0, 7)
