"""Files that clients upload: received in order, hashed while they arrive, then kept in the store.

A document's file goes into the store at once, with its space reserved, so that one which does not
fit is refused before it is sent. Files of a version are first written beside the store: which of
them is which is known only at the end of the form.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final

from aiohttp import web

from fedbus.atomic_write import os_errors_as_store_errors
from fedbus.core.blob_io import BlobSink, BlobSource
from fedbus.digest import hasher
from fedbus.errors import StoreError
from fedbus.http_api.request_bodies import (
    body_blocks,
    checked_length,
    form_files,
    part_blocks,
    receive_blob,
    write_blocks,
)
from fedbus.http_api.responses import ApiError
from fedbus.limits import MAX_BLOB_BYTES
from fedbus.wire.blobs import BlobRef
from fedbus_repository.stores.base import Store, Upload
from fedbus_repository.stores.disk import reserve_space

MAX_UPLOADS_AT_ONCE: Final = 8
"""Uploads that are received at a time; further ones are told to come back."""
RETRY_UPLOAD_SECONDS: Final = 10
COPY_BYTES: Final = 1 << 20
DIGEST_HEADER: Final = "Fedbus-Digest"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class ReceivedFile:
    """A file that is received in order; a BlobSink, and then a BlobSource.

    Raises:
        StoreError: The disk is full or broken.
    """

    def __init__(self, path: Path, reserved: int) -> None:
        self.path, self.size = path, 0
        self._hash = hasher()
        with os_errors_as_store_errors(path.parent, f"reserving {reserved} bytes"):
            path.parent.mkdir(mode=0o700, exist_ok=True)  # an operator may have deleted it
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                reserve_space(self._fd, reserved)
            except OSError:
                self.close()
                raise

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write the bytes that follow those before."""
        left, at = memoryview(data), offset
        with os_errors_as_store_errors(self.path.parent, "writing an upload"):
            while left:
                written = os.pwrite(self._fd, left, at)
                left, at = left[written:], at + written
        self._hash.update(data)
        self.size = at

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes at an offset."""
        with os_errors_as_store_errors(self.path.parent, "reading an upload"):
            return os.pread(self._fd, length, offset)

    def finish(self) -> BlobRef:
        """Cut what was reserved and not written; return the digest and size."""
        with os_errors_as_store_errors(self.path.parent, "writing an upload"):
            os.ftruncate(self._fd, self.size)
        return BlobRef(digest=self._hash.hexdigest(), size=self.size)

    def close(self) -> None:
        """Close and delete it."""
        os.close(self._fd)
        with suppress(OSError):  # the next start deletes it
            self.path.unlink(missing_ok=True)


class UploadFolder:
    """The folder of files that are being received; what an earlier process left is deleted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = count()
        self._now = 0
        with os_errors_as_store_errors(folder, "preparing the folder of uploads"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in folder.iterdir():
                left.unlink()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take one of the places for uploads; raise ApiError 503 if there is none."""
        if self._now >= MAX_UPLOADS_AT_ONCE:
            seconds = str(RETRY_UPLOAD_SECONDS)
            raise ApiError(
                503, f"{self._now} uploads are received; try again later", Retry_After=seconds
            )
        self._now += 1
        try:
            yield
        finally:
            self._now -= 1

    @asynccontextmanager
    async def receiving(self, reserved: int) -> AsyncIterator[ReceivedFile]:
        """Create a file with this space; delete it at the end."""
        path = self.folder / f"upload.{next(self._numbers)}"
        file = await asyncio.to_thread(ReceivedFile, path, reserved)
        try:
            yield file
        finally:
            file.close()

    def check_space(self, size: int) -> None:
        """Raise StoreError unless this many bytes are free."""
        with os_errors_as_store_errors(self.folder, "measuring free space"):
            found = os.statvfs(self.folder.parent)
        if (free := found.f_bavail * found.f_frsize) < size:
            raise StoreError(f"{size} bytes are needed, {free} are free in {self.folder.parent}")


async def receive_file(request: web.Request, store: Store, folder: UploadFolder) -> BlobRef:
    """Receive the one file of a request, as its body or in a form, and keep it in the store.

    It is written once, into the store: with the header Fedbus-Digest as the blob of this digest,
    else under the digest that it turns out to have.

    Raises:
        ApiError: 400, no file, several ones, or another digest than a header says; 408, the client
            stalled; 411 or 413, the length; 503, too many uploads at a time.
        StoreError: There is too little space.
    """
    length = checked_length(request, MAX_BLOB_BYTES)
    stated = _stated_digest(request)
    is_form = request.content_type == "multipart/form-data"
    with folder.place():
        if stated is not None and not is_form:
            blob = BlobRef(digest=stated, size=length)
            if await asyncio.to_thread(store.holds, blob):
                await _receive_held(request, blob)
                return blob
            return await _receive_into(await asyncio.to_thread(store.upload, blob), request)
        upload = await asyncio.to_thread(store.receive, length, stated)
        return await _receive_into(upload, request)


async def _receive_into(upload: Upload, request: web.Request) -> BlobRef:
    """Receive the one file of a request into the store."""
    try:
        if request.content_type == "multipart/form-data":
            await _receive_form(request, upload)
        else:
            await receive_blob(request, upload)
        await asyncio.to_thread(upload.keep)
    finally:
        await asyncio.to_thread(upload.discard)
    return upload.blob_ref


async def _receive_form(request: web.Request, file: BlobSink) -> None:
    """Receive the one file of a form."""
    found = False
    async for part in form_files(request):
        if found:
            raise ApiError(400, "expected one file in the form, got several")
        await write_blocks(part_blocks(part), file)
        found = True
    if not found:
        raise ApiError(400, "an empty form; expected a file: curl -F file=@FILE")


async def _receive_held(request: web.Request, blob: BlobRef) -> None:
    """Hash a body that the store has: who only knows a digest does not get at its blob."""
    found = hasher()
    async for block in body_blocks(request):
        found.update(block)
    if found.hexdigest() != blob.digest:
        raise ApiError(400, f"{DIGEST_HEADER}: the file has the digest {found.hexdigest()}")


def copy_blob(source: BlobSource, upload: Upload) -> None:
    """Write all bytes of a source to an upload. Called in a thread."""
    for offset in range(0, source.size, COPY_BYTES):
        upload.write(offset, source.read(offset, min(COPY_BYTES, source.size - offset)))


def fill_uploads(uploads: Sequence[Upload], sources: Mapping[str, BlobSource]) -> list[BlobRef]:
    """Write uploads from sources, by digest; return those without a source. In a thread."""
    missing = []
    for upload in uploads:
        source = sources.get(upload.blob_ref.digest)
        if source is None:
            missing.append(upload.blob_ref)
        else:
            copy_blob(source, upload)
    return missing


def _stated_digest(request: web.Request) -> str | None:
    stated = request.headers.get(DIGEST_HEADER)
    if stated is not None and not _DIGEST.fullmatch(stated):
        raise ApiError(400, f"{DIGEST_HEADER}: expected a BLAKE3 digest, 64 hexadecimal digits")
    return stated
