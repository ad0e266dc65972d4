"""Pages of lists: the parameters `limit` and `after` of a request."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from fedbus.http_api.request_parameters import read_query_number
from fedbus.http_api.responses import ApiError

MAX_PAGE_DOCUMENTS: Final = 200
PAGE_QUERY: Final = {
    "limit": f"how many, at most {MAX_PAGE_DOCUMENTS}, which is the default",
    "after": "the last name of the page before",
}


@dataclass(frozen=True, slots=True)
class ListPage:
    """At most `limit` entries behind the name `after`."""

    limit: int = MAX_PAGE_DOCUMENTS
    after: str = ""


def read_page(request: web.Request) -> ListPage:
    """Return the page that a request asks for; raise ApiError 400 if it cannot be read."""
    limit = read_query_number(request, "limit")
    limit = MAX_PAGE_DOCUMENTS if limit is None else limit
    if not 1 <= limit <= MAX_PAGE_DOCUMENTS:
        raise ApiError(400, f"limit: expected 1 to {MAX_PAGE_DOCUMENTS}, got {limit}")
    after = request.query.get("after", "")
    if not after.isascii():
        raise ApiError(400, f"after: expected the name of an entry, got {after[:40]!a}")
    return ListPage(limit, after[:256])


def read_flag(request: web.Request, name: str) -> bool:
    """Return a parameter that is true or false; raise ApiError 400 for anything else."""
    given = request.query.get(name, "false")
    if given not in {"true", "false"}:
        raise ApiError(400, f"{name}: expected true or false, got {given[:20]!a}")
    return given == "true"
