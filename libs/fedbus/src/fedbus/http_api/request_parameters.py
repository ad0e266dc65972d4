"""Parameters of HTTP requests, in the path and in the query: checked where they are read."""

import re
from collections.abc import Collection
from typing import Final, TypeVar

from aiohttp import web

from fedbus.http_api.responses import ApiError
from fedbus.scalars import IDENT, IDENT_SAID
from fedbus.text import listed, nearest

MAX_QUERY_DIGITS: Final = 15
T = TypeVar("T", bound=str)


def read_name(request: web.Request, what: str) -> str:
    """Return a name from the request's path; raise ApiError 400 if it is not valid."""
    name = request.match_info[what]
    if not re.fullmatch(IDENT, name):
        raise ApiError(400, f"{what}: not {IDENT_SAID}")
    return name


def refuse_other_parameters(request: web.Request, known: Collection[str]) -> None:
    """Raise ApiError 400 for a parameter in the query that is not a known one."""
    for name in request.query:
        if name not in known:
            near = nearest(name, known)
            meant = f"did you mean {near}? " if near else ""
            raise ApiError(
                400, f"{name[:40]!a}: no such parameter; {meant}known: {listed(known) or 'none'}"
            )


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


def read_query_choice(request: web.Request, what: str, choices: tuple[T, ...]) -> T:
    """Return one of some words from the query, by default the first; raise ApiError 400."""
    given = request.query.get(what, choices[0])
    for choice in choices:
        if choice == given:
            return choice
    raise ApiError(400, f"{what}: expected one of {', '.join(choices)}; got {given[:20]!a}")
