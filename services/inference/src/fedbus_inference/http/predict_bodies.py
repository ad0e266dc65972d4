"""Bodies of prediction requests over HTTP: limited before they are read, and while they are."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from aiohttp import ClientError, web

from fedbus.errors import WireError
from fedbus.http_api.request_bodies import STALLED_BODY_SECONDS, read_body
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


async def read_predict_body(request: web.Request, max_bytes: int) -> bytes:
    """Read a body, with its length or in chunks.

    Raises:
        ApiError: 413, too large; 415, of another type; 400 or 408, it broke off.
    """
    if request.content_type not in TAKEN_TYPES:
        raise ApiError(
            415, f"Content-Type: expected {TAKEN_TYPES[0]}, got {request.content_type[:60]}"
        )
    if request.content_length is not None:
        return await read_body(request, max_bytes)
    body = bytearray()
    try:
        while True:
            async with asyncio.timeout(STALLED_BODY_SECONDS):
                block = await request.content.read(_READ_BYTES)
            if not block:
                return bytes(body)
            body += block
            if len(body) > max_bytes:
                raise ApiError(413, f"more than {max_bytes} bytes", Connection="close")
    except TimeoutError:
        seconds = f"{STALLED_BODY_SECONDS:g} s"
        raise ApiError(408, f"nothing came for {seconds}", Connection="close") from None
    except (ClientError, ConnectionError) as error:
        raise ApiError(400, f"the body broke off: {error}", Connection="close") from error


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
