"""Pages of lists: the parameters `limit` and `after` of a request."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

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
    given = request.query.get("limit", str(MAX_PAGE_DOCUMENTS))
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= MAX_PAGE_DOCUMENTS):
        raise ApiError(400, f"limit: expected 1 to {MAX_PAGE_DOCUMENTS}, got {given[:20]!r}")
    return ListPage(int(given), request.query.get("after", "")[:256])


def read_flag(request: web.Request, name: str) -> bool:
    """Return a parameter that is true or false; raise ApiError 400 for anything else."""
    given = request.query.get(name, "false")
    if given not in {"true", "false"}:
        raise ApiError(400, f"{name}: expected true or false, got {given[:20]!r}")
    return given == "true"
