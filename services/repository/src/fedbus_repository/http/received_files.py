"""Files that clients upload: written once, into the store, and hashed while they arrive.

Their space is reserved first, so that a file which does not fit is refused before it is sent.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import web

from fedbus.core.blob_io import BlobSink
from fedbus.digest import hasher
from fedbus.http_api.blob_uploads import receive_blob, write_blocks
from fedbus.http_api.request_bodies import body_blocks, checked_length, form_files, part_blocks
from fedbus.http_api.responses import ApiError
from fedbus.limits import MAX_BLOB_BYTES
from fedbus.wire.blobs import BlobRef
from fedbus_repository.stores.base import Store, Upload

MAX_UPLOADS_AT_ONCE: Final = 8
"""Uploads that are received at a time; further ones are told to come back."""
RETRY_UPLOAD_SECONDS: Final = 10
DIGEST_HEADER: Final = "Fedbus-Digest"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class UploadPlaces:
    """Places for uploads that are received at a time."""

    def __init__(self) -> None:
        self._taken = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take one of the places; raise ApiError 503 if there is none."""
        if self._taken >= MAX_UPLOADS_AT_ONCE:
            seconds = str(RETRY_UPLOAD_SECONDS)
            raise ApiError(
                503, f"{self._taken} uploads are received; try again later", Retry_After=seconds
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


async def receive_file(request: web.Request, store: Store, places: UploadPlaces) -> BlobRef:
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
    with places.place():
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


def _stated_digest(request: web.Request) -> str | None:
    stated = request.headers.get(DIGEST_HEADER)
    if stated is not None and not _DIGEST.fullmatch(stated):
        raise ApiError(400, f"{DIGEST_HEADER}: expected a BLAKE3 digest, 64 hexadecimal digits")
    return stated
