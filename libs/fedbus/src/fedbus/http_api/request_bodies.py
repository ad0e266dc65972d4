"""Bodies of HTTP requests: limited before they are read, and ended where they stall.

A body is accepted with its length only, so that a limit is applied before a byte is read.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import BodyPartReader, ClientError, web

from fedbus.http_api.responses import ApiError

STALLED_BODY_SECONDS: Final = 30.0
"""A client that sends nothing for this long gets 408, and its connection is closed."""
UPLOAD_BLOCK_BYTES: Final = 1 << 20


def refuse_coding(request: web.Request) -> None:
    """Raise ApiError 415 if a body is compressed: its length says nothing of its content's."""
    coding = request.headers.get("Content-Encoding", "identity")
    if coding.strip().lower() != "identity":
        raise ApiError(
            415,
            f"Content-Encoding: {coding[:60]} is not taken; send the bytes as they are",
            Connection="close",
        )


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
