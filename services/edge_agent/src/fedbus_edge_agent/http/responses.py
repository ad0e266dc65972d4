"""How the agent's doors read and answer: measured before it is read, refused in a sentence."""

import re

from aiohttp import web

from fedbus.scalars import IDENT, IDENT_SAID
from fedbus.wire import codec
from fedbus.wire.documents import JobFault
from fedbus_edge_agent.standalone.schemas import Problem

_NAME = re.compile(IDENT)


class ApiError(Exception):
    """A request is answered with a status and a sentence."""

    def __init__(self, status: int, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def read_name(request: web.Request, what: str) -> str:
    """Read a name from the path."""
    name = request.match_info[what]
    if not _NAME.fullmatch(name):
        raise ApiError(400, f"{what}: not {IDENT_SAID}")
    return name


def checked_length(request: web.Request, most: int) -> int:
    """Measure a body before a byte of it is read."""
    length = request.content_length
    if length is None:
        raise ApiError(411, "send a Content-Length")
    if length > most:
        raise ApiError(413, f"{length} bytes, at most {most}")
    return length


async def read_body(request: web.Request, most: int) -> bytes:
    """Read a body that is no longer than that."""
    checked_length(request, most)
    return await request.read()


def json_response(message: object, status: int = 200) -> web.Response:
    """Answer with one of our documents."""
    return web.Response(body=codec.to_json(message), status=status, content_type="application/json")


def error_response(refused: ApiError, faults: tuple[JobFault, ...] = ()) -> web.Response:
    """Answer with what is wrong."""
    answer = json_response(Problem(error=str(refused), faults=faults), refused.status)
    answer.headers.update(refused.headers)
    return answer
