"""Endpoint tables: the source of a service's routes, `/openapi.json` and `/docs`. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pydantic import TypeAdapter

from fedbus.http_api.scopes import Scope
from fedbus.wire.documents import JobFault

REFERENCE = "#/components/schemas/{model}"
ANYTHING: Mapping[str, Any] = {"type": "object"}
FILE: Mapping[str, Any] = {"type": "string", "format": "binary"}

Schema: TypeAlias = Mapping[str, Any]
Content: TypeAlias = tuple[int, str, Schema]
"""Status, content type and schema of a response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a request was refused, with every fault of a refused job file."""

    error: str
    faults: tuple[JobFault, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path.

    Attributes:
        handler: Name of the method of the service's handlers; `models.show` is `show` of their
            attribute `models`.
        response: Status, content type and schema of a successful response.
        errors: Descriptions of the other responses, by status.
        body: Content type and schema of the request body.
        public: Whether no token is needed.
        scope: What a token must allow, where the service's tokens have scopes.
        query: Descriptions of the parameters in the query, by name; each may be left out.
    """

    method: str
    path: str
    handler: str
    summary: str
    response: Content
    errors: Mapping[int, str] = field(default_factory=dict)
    body: tuple[str, Schema] | None = None
    public: bool = False
    scope: Scope | None = None
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApiDescription:
    """What a service's API consists of: its title, endpoints and schemas, by name."""

    title: str
    endpoints: Sequence[Endpoint]
    schemas: Mapping[str, Schema]


def schema_of(kind: type[Any] | str) -> dict[str, Any]:
    """Return a reference to a schema, given its class or name."""
    return {"$ref": REFERENCE.format(model=kind if isinstance(kind, str) else kind.__name__)}


def json_of(schema: Schema, status: int = 200) -> Content:
    """Return a response of JSON."""
    return status, "application/json", schema


def list_of(kind: type[Any] | str) -> dict[str, Any]:
    """Return the schema of an array of another schema."""
    return {"type": "array", "items": schema_of(kind)}


def schemas_of(
    kinds: Iterable[type[Any]], others: Mapping[str, Mapping[str, Any]] = {}
) -> dict[str, Schema]:
    """Return the schemas of classes, of what they consist of, and others, by name."""
    found: dict[str, Schema] = {}
    made = {
        kind.__name__: TypeAdapter(kind).json_schema(ref_template=REFERENCE)
        for kind in (*kinds, Problem)
    }
    for name, schema in (*made.items(), *others.items()):
        own = dict(schema)
        found.update(own.pop("$defs", {}))
        found[name] = own
    return found


PAGES: Sequence[Endpoint] = (
    Endpoint(
        "GET",
        "/openapi.json",
        "openapi",
        "This description, as OpenAPI 3.1.",
        json_of(ANYTHING),
        public=True,
    ),
    Endpoint(
        "GET", "/docs", "docs", "This description, as a page.", (200, "text/html", {}), public=True
    ),
    Endpoint(
        "GET",
        "/api/docs",
        "docs_redirect",
        "ASSIST-IoT's path of this page: leads to `/docs`.",
        (308, "", {}),
        public=True,
    ),
)
"""The endpoints of the description, which the table of each API ends with."""
