"""Bodies of HTTP requests: limited before they are read, stalled ones ended, blobs streamed.

A body is accepted with its length only, so that a limit is applied before a byte is read.
"""

import asyncio
import hashlib
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Final, TypeVar

from aiohttp import BodyPartReader, ClientError, web

from fedbus.core.blob_io import BlobSink
from fedbus.http_api.responses import ApiError
from fedbus.scalars import IDENT, IDENT_SAID

STALLED_BODY_SECONDS: Final = 30.0
"""A client that sends nothing for this long gets 408, and its connection is closed."""
UPLOAD_BLOCK_BYTES: Final = 1 << 20
MAX_QUERY_DIGITS: Final = 15
T = TypeVar("T", bound=str)
_CONTENT_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]{44}):")


def read_name(request: web.Request, what: str) -> str:
    """Return a name from the request's path; raise ApiError 400 if it is not valid."""
    name = request.match_info[what]
    if not re.fullmatch(IDENT, name):
        raise ApiError(400, f"{what}: not {IDENT_SAID}")
    return name


def read_query_name(request: web.Request, what: str) -> str | None:
    """Return a name from the query, None: there is none; raise ApiError 400 if it is not valid."""
    name = request.query.get(what)
    if name is not None and not re.fullmatch(IDENT, name):
        raise ApiError(400, f"{what}: not {IDENT_SAID}")
    return name


def read_query_number(request: web.Request, what: str) -> int | None:
    """Return a whole number from the query, None: it is not there; raise ApiError 400 for others.

    Numbers of versions, rounds and configurations are below 2^53.
    """
    given = request.query.get(what)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= MAX_QUERY_DIGITS):
        raise ApiError(400, f"{what}: expected a whole number, got {given[:20]!a}")
    return int(given)


def refuse_coding(request: web.Request) -> None:
    """Raise ApiError 415 if a body is compressed: its length says nothing of its content's."""
    coding = request.headers.get("Content-Encoding", "identity")
    if coding.strip().lower() != "identity":
        raise ApiError(
            415,
            f"Content-Encoding: {coding[:60]} is not taken; send the bytes as they are",
            Connection="close",
        )


def read_query_choice(request: web.Request, what: str, choices: tuple[T, ...]) -> T:
    """Return one of some words from the query, by default the first; raise ApiError 400."""
    given = request.query.get(what, choices[0])
    for choice in choices:
        if choice == given:
            return choice
    raise ApiError(400, f"{what}: expected one of {', '.join(choices)}; got {given[:20]!a}")


def checked_length(request: web.Request, max_bytes: int) -> int:
    """Return the length of a body, before it is read.

    Raises:
        ApiError: 411, the length is unknown; 413, it is above `max_bytes`.
    """
    length = request.content_length
    if length is None:
        raise ApiError(411, "send a Content-Length")
    if length > max_bytes:
        raise ApiError(413, f"{length} bytes, at most {max_bytes}")
    return length


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    """Read a body; see `checked_length`; raise ApiError 408 or 400 if it ends too early."""
    length = checked_length(request, max_bytes)
    body = bytearray()
    while len(body) < length:
        body += await next_block(request, length - len(body))
    return bytes(body)


async def next_block(request: web.Request, left: int) -> bytes:
    """Return the next bytes of a body that must have `left` more.

    Raises:
        ApiError: 408, nothing came in time; 400, the body ended too early.
    """
    try:
        async with asyncio.timeout(STALLED_BODY_SECONDS):
            block = await request.content.read(min(left, UPLOAD_BLOCK_BYTES))
    except TimeoutError:
        raise _stalled() from None
    except (ClientError, ConnectionError) as error:
        raise _broken(error) from error
    if not block:
        raise ApiError(400, f"the body ended {left} bytes before its Content-Length")
    return block


async def body_blocks(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the blocks of a body whose length the caller has checked; raises as `next_block`."""
    left = request.content_length or 0
    while left:
        block = await next_block(request, left)
        left -= len(block)
        yield block


async def part_blocks(part: BodyPartReader) -> AsyncIterator[bytes]:
    """Yield the blocks of one file of a form; raise ApiError 408 or 400 if it ends too early."""
    while True:
        try:
            async with asyncio.timeout(STALLED_BODY_SECONDS):
                block = await part.read_chunk(UPLOAD_BLOCK_BYTES)
        except TimeoutError:
            raise _stalled() from None
        except (ClientError, ConnectionError, ValueError, AssertionError) as error:
            raise _broken(error) from error
        if not block:
            return
        yield bytes(block)


async def form_files(request: web.Request) -> AsyncIterator[BodyPartReader]:
    """Yield the files of a form (`multipart/form-data`), each to be read before the next one.

    Raises:
        ApiError: 415, the body is no form; 400, a part of it is not a file.
    """
    if request.content_type != "multipart/form-data":
        raise ApiError(415, "send a form with files: curl -F file=@FILE")
    try:
        form = await request.multipart()
        while (part := await form.next()) is not None:
            if not isinstance(part, BodyPartReader):
                raise ApiError(400, "expected files in the form, got another form")
            yield part
    except (ClientError, ConnectionError, ValueError, AssertionError) as error:
        raise _broken(error) from error


def _stalled() -> ApiError:
    return ApiError(408, f"nothing came for {STALLED_BODY_SECONDS:g} s", Connection="close")


def _broken(error: Exception) -> ApiError:
    return ApiError(400, f"the body broke off: {error}", Connection="close")


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
