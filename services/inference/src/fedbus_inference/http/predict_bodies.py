"""Bodies of prediction requests over HTTP: limited before they are read, and while they are."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from aiohttp import ClientError, web

from fedbus.errors import WireError
from fedbus.http_api.request_bodies import STALLED_BODY_SECONDS, checked_length, next_block
from fedbus.http_api.responses import ApiError
from fedbus_inference.local_requests import LONGEST_TIMEOUT

TAKEN_TYPES: Final = (
    "application/json",
    "application/octet-stream",  # JSON with binary tensors behind it, and no type at all
    "application/x-www-form-urlencoded",  # what curl states where the caller states nothing
)
_READ_BYTES: Final = 1 << 18
_PARSED_IN_LOOP_BYTES: Final = 1 << 15
"""A body up to this size is parsed in less time than a thread is started in."""
T = TypeVar("T")


class HeldBodies:
    """Bodies of all requests that are being received or parsed, bounded together.

    Attributes:
        bytes: What they have now.
    """

    def __init__(self, limit: int) -> None:
        self.bytes = 0
        self._limit = limit

    def take(self, count: int) -> None:
        """Count bytes of one; raise ApiError 429 if that is too much, and close the connection."""
        if self.bytes + count > self._limit:
            raise ApiError(
                429,
                f"requests that are being received have {self.bytes} bytes, at most {self._limit}",
                Retry_After="1",
                Connection="close",
            )
        self.bytes += count


@asynccontextmanager
async def predict_body(
    request: web.Request, max_bytes: int, held: HeldBodies
) -> AsyncIterator[bytes]:
    """Receive a body, and hold it in this block; raise ApiError as `_receive` does."""
    taken = 0

    def take(count: int) -> None:
        nonlocal taken
        held.take(count)
        taken += count

    try:
        yield await _receive(request, max_bytes, take)
    finally:
        held.bytes -= taken


async def _receive(request: web.Request, max_bytes: int, take: Callable[[int], None]) -> bytes:
    """Read a body, with its length or in chunks.

    Raises:
        ApiError: 413, too large; 415, of another type, or compressed; 400 or 408, it broke off;
            429, all bodies together are too large.
    """
    if request.content_type not in TAKEN_TYPES:
        raise ApiError(
            415, f"Content-Type: expected {TAKEN_TYPES[0]}, got {request.content_type[:60]}"
        )
    if request.content_length is not None:
        return await _receive_stated(request, max_bytes, take)
    body = bytearray()
    try:
        while True:
            async with asyncio.timeout(STALLED_BODY_SECONDS):
                block = await request.content.read(_READ_BYTES)
            if not block:
                return bytes(body)
            take(len(block))
            body += block
            if len(body) > max_bytes:
                raise ApiError(413, f"more than {max_bytes} bytes", Connection="close")
    except TimeoutError:
        seconds = f"{STALLED_BODY_SECONDS:g} s"
        raise ApiError(408, f"nothing came for {seconds}", Connection="close") from None
    except (ClientError, ConnectionError) as error:
        raise ApiError(400, f"the body broke off: {error}", Connection="close") from error


async def _receive_stated(
    request: web.Request, max_bytes: int, take: Callable[[int], None]
) -> bytes:
    length, body = checked_length(request, max_bytes), bytearray()
    while len(body) < length:
        block = await next_block(request, length - len(body))
        take(len(block))
        body += block
    return bytes(body)


async def parse_body(body: bytes, parse: Callable[[bytes], T]) -> T:
    """Parse a body, in a thread if it is large; a WireError becomes 400 by its sentence."""
    if len(body) <= _PARSED_IN_LOOP_BYTES:
        return parse(body)
    return await asyncio.to_thread(parse, body)


def json_length(request: web.Request) -> int | None:
    """Return the length of the JSON before binary tensors; None: the body is JSON alone."""
    stated = request.headers.get("Inference-Header-Content-Length")
    if stated is None:
        return None
    if not stated.isdecimal() or not stated.isascii():
        raise WireError(
            f"Inference-Header-Content-Length: expected a whole number, got {stated[:60]!r}"
        )
    return int(stated[:20])


def request_timeout(request: web.Request) -> float | None:
    """Return the seconds of the header Request-Timeout; None: there is none.

    Raises:
        WireError: It is no number above 0.
    """
    stated = request.headers.get("Request-Timeout")
    if stated is None:
        return None
    try:
        seconds = float(stated)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_TIMEOUT:
        raise WireError(
            f"Request-Timeout: expected seconds above 0, at most {LONGEST_TIMEOUT:g}, "
            f"got {stated[:60]!r}"
        )
    return seconds
