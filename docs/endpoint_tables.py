"""Tables of the endpoints of an HTTP API, for the generated page."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from fedbus.http_api.endpoints import ApiDescription, Endpoint

MIN_SHARED: Final = 4
"""Endpoints at which a refusal has the same text, from which on the text stands above the table."""


def endpoint_table(api: ApiDescription) -> Iterator[str]:
    """Yield the lines of an API's table, below the refusals that its endpoints share."""
    shared = _shared(api)
    yield from _shared_answers(shared)
    yield "| request | scope | meaning | answers |\n|---|---|---|---|\n"
    yield from (_row(endpoint, shared) for endpoint in _told(api))
    yield "\n"


def _shared(api: ApiDescription) -> Mapping[int, str]:
    """Return what a status means at the most endpoints, where these are several."""
    counts = Counter(each for endpoint in _told(api) for each in endpoint.errors.items())
    shared: dict[int, str] = {}
    for (status, why), count in counts.most_common():
        if count >= MIN_SHARED:
            shared.setdefault(status, why)
    return dict(sorted(shared.items()))


def _told(api: ApiDescription) -> list[Endpoint]:
    return [endpoint for endpoint in api.endpoints if endpoint.handler != "no_meaning"]


def _shared_answers(shared: Mapping[int, str]) -> Iterator[str]:
    if shared:
        yield "A status without a text in the table means:\n\n| status | meaning |\n|---|---|\n"
        yield from (f"| {status} | {why} |\n" for status, why in shared.items())
        yield "\n"


def _row(endpoint: Endpoint, shared: Mapping[int, str]) -> str:
    scope = "none" if endpoint.public else f"`{endpoint.scope}`"
    query = "".join(f"; `?{name}=`: {what}" for name, what in endpoint.query.items())
    own = [f"{n}: {why}" for n, why in sorted(endpoint.errors.items()) if shared.get(n) != why]
    others = [str(n) for n, why in sorted(endpoint.errors.items()) if shared.get(n) == why]
    answers = "; ".join([str(endpoint.response[0]), *own, *filter(None, [", ".join(others)])])
    meaning = (endpoint.summary.rstrip(".") + query).replace("|", "\\|")
    answers = answers.replace("|", "\\|")
    return f"| `{endpoint.method} {endpoint.path}` | {scope} | {meaning} | {answers} |\n"
