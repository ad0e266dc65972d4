"""Uploads of blobs: bodies of requests that are streamed to a sink, in threads."""

import asyncio
import hashlib
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import AsyncIterable, Callable

from aiohttp import web

from fedbus.core.blob_io import BlobSink
from fedbus.http_api.request_bodies import UPLOAD_BLOCK_BYTES, body_blocks
from fedbus.http_api.responses import ApiError

_CONTENT_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]{44}):")


async def receive_blob(request: web.Request, sink: BlobSink) -> None:
    """Write a body to a sink, in threads, and check the header Content-Digest if it is there.

    The caller has checked the body's length, and discards the sink after an error.

    Raises:
        ApiError: The body broke off, stalled, or has another SHA-256 than the header says.
    """
    await write_blocks(body_blocks(request), sink, request.headers.get("Content-Digest"))


async def write_blocks(
    blocks: AsyncIterable[bytes], sink: BlobSink, content_digest: str | None = None
) -> int:
    """Write blocks to a sink, in threads; return how many bytes they were.

    One write is in progress while further blocks are taken, and the next one waits for it. So the
    connection's window fills and the client waits: memory is bounded for any size. After an error,
    and after a cancellation, no thread writes to the sink any more.

    Raises:
        ApiError: 400, they have another SHA-256 than the header Content-Digest says.
    """
    expected = read_content_digest(content_digest)
    hashed = None if expected is None else hashlib.sha256()
    offset, parts, waiting = 0, list[bytes](), 0
    writing: asyncio.Future[None] | None = None

    def write(data: bytes, at: int) -> None:
        sink.write(at, data)
        if hashed is not None:
            hashed.update(data)

    try:
        async for block in blocks:
            parts.append(block)
            waiting += len(block)
            if waiting >= UPLOAD_BLOCK_BYTES:
                if writing is not None:
                    await _result_of(writing)
                writing = _in_thread(write, b"".join(parts), offset)
                offset, waiting = offset + waiting, 0
                parts.clear()
        if writing is not None:
            await _result_of(writing)
        if waiting:
            writing = _in_thread(write, b"".join(parts), offset)
            await _result_of(writing)
    finally:
        if writing is not None:
            await _until_done(writing)
    if hashed is not None and hashed.digest() != expected:
        raise ApiError(400, "Content-Digest: the body has another SHA-256; send it again")
    return offset + waiting


def _in_thread(write: Callable[[bytes, int], None], data: bytes, at: int) -> asyncio.Future[None]:
    return asyncio.get_running_loop().run_in_executor(None, write, data, at)


async def _result_of(writing: asyncio.Future[None]) -> None:
    """Wait for a write and raise its error; a cancellation of this task leaves the write."""
    await asyncio.wait((writing,))
    writing.result()


async def _until_done(writing: asyncio.Future[None]) -> None:
    """Wait for the end of a write, through cancellations of this task."""
    cancelled = False
    while not writing.done():
        try:
            await asyncio.wait((writing,))
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


def read_content_digest(header: str | None) -> bytes | None:
    """Return the SHA-256 of a header Content-Digest (RFC 9530); None: there is none.

    Raises:
        ApiError: 400, it has no SHA-256 in base64 between colons.
    """
    if header is None:
        return None
    found = _CONTENT_DIGEST.search(header)
    try:
        digest = b"" if found is None else b64decode(found[1], validate=True)
    except Base64Error:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise ApiError(400, "Content-Digest: expected sha-256=:BASE64:, with 32 bytes in base64")
    return digest
