"""Request bodies and JSON responses of the agent's HTTP API."""

import re

from aiohttp import web

from fedbus.scalars import IDENT, IDENT_SAID
from fedbus.wire import codec
from fedbus.wire.documents import JobFault
from fedbus_edge_agent.standalone.schemas import Problem


class ApiError(Exception):
    """Refusal of a request: a status, a message and headers."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def read_name(request: web.Request, what: str) -> str:
    """Return a name from the request's path; raise ApiError 400 if it is not valid."""
    name = request.match_info[what]
    if not re.fullmatch(IDENT, name):
        raise ApiError(400, f"{what}: not {IDENT_SAID}")
    return name


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
    """Read a body; see `checked_length`."""
    checked_length(request, max_bytes)
    return await request.read()


def json_response(message: object, status: int = 200) -> web.Response:
    """Return a response with a schema's object as JSON."""
    return web.Response(body=codec.to_json(message), status=status, content_type="application/json")


def error_response(error: ApiError, faults: tuple[JobFault, ...] = ()) -> web.Response:
    """Return a response that describes an error."""
    response = json_response(Problem(error=str(error), faults=faults), error.status)
    response.headers.update(error.headers)
    return response
