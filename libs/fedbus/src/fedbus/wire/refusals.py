"""Refusals of requests to a repository, each of which names the request that it refuses. Pure."""

from fedbus.errors import RequestRefusalKind
from fedbus.wire import codec
from fedbus.wire.messages import RequestRefused


def refusal_of_request(
    request: object, about: str, reason: str, kind: RequestRefusalKind = "conflict"
) -> RequestRefused:
    """Return the refusal of a request, as its sender sent it; `about` is what it concerns."""
    digest = codec.request_digest(request)
    return RequestRefused(about=about, reason=reason, kind=kind, request=digest)


def refuses(refused: RequestRefused, request: object) -> bool:
    """Return whether this is the refusal of a request that its sender waits for.

    A refusal that names no request, of an earlier version of fedbus, is taken for it.
    """
    return refused.request in {None, codec.request_digest(request)}
