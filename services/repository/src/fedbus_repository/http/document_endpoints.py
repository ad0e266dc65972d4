"""Table of the repository's endpoints of documents: what ASSIST-IoT's other programs store."""

from collections.abc import Iterator, Mapping, Sequence

from fedbus.http_api.endpoints import Endpoint, json_of, list_of, schema_of
from fedbus.http_api.scopes import Scope
from fedbus_repository.http.file_answers import BINARY, DONE, FORM, RANGES, UPLOAD_ERRORS
from fedbus_repository.http.pages import PAGE_QUERY
from fedbus_repository.http.schemas import (
    CollectorDocument,
    StrategyDocument,
    TransformationDocument,
)


def endpoints_of_documents(  # noqa: PLR0913 - what the kinds differ in
    handler: str,
    path: str,
    parts: str,
    schema: type[object],
    what: str,
    *,
    read: Scope = "documents:read",
    write: Scope = "documents:write",
    query: Mapping[str, str] = PAGE_QUERY,
) -> Iterator[Endpoint]:
    """Yield the endpoints of one kind of documents."""
    none = {404: f"no such {what}"}
    yield Endpoint(
        "POST",
        path,
        f"{handler}.create",
        f"Store a {what}, without its file.",
        json_of(schema_of(schema), 201),
        {400: f"not a {what}, or there is one of this name", 413: "too large", 507: "too many"},
        ("application/json", schema_of(schema)),
        scope=write,
    )
    yield Endpoint(
        "GET",
        path,
        f"{handler}.list_all",
        "A page of them, by name.",
        json_of(list_of(schema)),
        scope=read,
        query=query,
    )
    yield Endpoint(
        "GET",
        f"{path}/meta{parts}",
        f"{handler}.show",
        f"A {what} without its file.",
        json_of(schema_of(schema)),
        none,
        scope=read,
    )
    yield Endpoint(
        "PUT",
        f"{path}/meta{parts}",
        f"{handler}.change",
        f"Change a {what}; its file stays.",
        DONE,
        {400: f"not a {what}", 413: "too large", **none},
        ("application/json", schema_of(schema)),
        scope=write,
    )
    yield Endpoint(
        "DELETE",
        f"{path}{parts}",
        f"{handler}.delete",
        f"Delete a {what} and its file.",
        DONE,
        none,
        scope=write,
    )


def _with_files(
    handler: str, path: str, parts: str, schema: type[object], what: str
) -> Iterator[Endpoint]:
    yield from endpoints_of_documents(handler, path, parts, schema, what)
    none = {404: f"no such {what}, or it has no file"}
    yield Endpoint(
        "PUT",
        f"{path}{parts}",
        f"{handler}.upload",
        f"Upload the file of a {what}. It is stored, and never loaded or executed.",
        DONE,
        {**UPLOAD_ERRORS, **none},
        ("multipart/form-data", FORM),
        scope="documents:write",
    )
    yield Endpoint(
        "GET",
        f"{path}{parts}",
        f"{handler}.download",
        f"The file of a {what}.",
        BINARY,
        {**none, **RANGES},
        scope="documents:read",
    )


DOCUMENT_ENDPOINTS: Sequence[Endpoint] = (
    *_with_files("strategies", "/strategy", "/{strategy_name}", StrategyDocument, "strategy"),
    *_with_files(
        "transformations", "/transformation", "/{id}", TransformationDocument, "transformation"
    ),
    *_with_files("collectors", "/collector", "/{name}/{version}", CollectorDocument, "collector"),
)
