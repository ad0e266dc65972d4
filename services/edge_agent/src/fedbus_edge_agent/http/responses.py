"""How the agent's doors read and answer: measured before it is read, refused in a sentence."""

import re

from aiohttp import web

from fedbus.scalars import IDENT, IDENT_SAID
from fedbus.wire import codec
from fedbus.wire.documents import JobFault
from fedbus_edge_agent.standalone.schemas import Problem

_NAME = re.compile(IDENT)


class Refused(Exception):  # noqa: N818 - an answer, not a mistake of ours
    """A request is answered with a status and a sentence."""

    def __init__(self, status: int, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def read_name(request: web.Request, what: str) -> str:
    """Read a name from the path."""
    name = request.match_info[what]
    if not _NAME.fullmatch(name):
        raise Refused(400, f"{what}: not {IDENT_SAID}")
    return name


def measured(request: web.Request, most: int) -> int:
    """Measure a body before a byte of it is read."""
    length = request.content_length
    if length is None:
        raise Refused(411, "send a Content-Length")
    if length > most:
        raise Refused(413, f"{length} bytes, at most {most}")
    return length


async def read_body(request: web.Request, most: int) -> bytes:
    """Read a body that is no longer than that."""
    measured(request, most)
    return await request.read()


def as_json(message: object, status: int = 200) -> web.Response:
    """Answer with one of our documents."""
    return web.Response(body=codec.to_json(message), status=status, content_type="application/json")


def problem(refused: Refused, faults: tuple[JobFault, ...] = ()) -> web.Response:
    """Answer with what is wrong."""
    answer = as_json(Problem(error=str(refused), faults=faults), refused.status)
    answer.headers.update(refused.headers)
    return answer
