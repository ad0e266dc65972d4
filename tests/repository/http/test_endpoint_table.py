"""The repository's endpoint table: scopes, handlers, and a description without dead references."""

import json
import re
from operator import attrgetter

import pytest

pytest.importorskip("aiohttp")

from fedbus.http_api.openapi import as_openapi_3_0, document, names_in
from fedbus_repository.http.api import RepositoryHandlers
from fedbus_repository.http.document_handlers import DocumentHandlers
from fedbus_repository.http.draft_handlers import DraftHandlers
from fedbus_repository.http.endpoints import ENDPOINTS, description
from fedbus_repository.http.name_handlers import NameHandlers
from fedbus_repository.http.result_handlers import ResultHandlers
from fedbus_repository.http.version_file_handlers import VersionFileHandlers
from fedbus_repository.http.version_handlers import VersionHandlers

CLASSES = {
    "drafts": DraftHandlers,
    "versions": VersionHandlers,
    "files": VersionFileHandlers,
    "names": NameHandlers,
    "results": ResultHandlers,
    "strategies": DocumentHandlers,
    "transformations": DocumentHandlers,
    "collectors": DocumentHandlers,
}


def test_every_endpoint_has_a_handler_and_a_scope_for_what_it_does() -> None:
    """A scope to read never allows a change."""
    assert set(CLASSES) == set(RepositoryHandlers.__dataclass_fields__)
    for endpoint in ENDPOINTS:
        if endpoint.public:
            continue
        part, _, method = endpoint.handler.partition(".")
        assert callable(attrgetter(method)(CLASSES[part])), endpoint.handler
        assert endpoint.scope is not None, endpoint.path
        writes = endpoint.method not in {"GET", "HEAD"}
        assert endpoint.scope.endswith(":write") == writes, endpoint.path
    pairs = [(endpoint.method, endpoint.path) for endpoint in ENDPOINTS]
    assert len(pairs) == len(set(pairs))


def test_the_description_refers_to_schemas_that_it_has() -> None:
    """In both versions of OpenAPI; each operation has an id of its own."""
    described = document(description(), "1")
    for text in (json.dumps(described), json.dumps(as_openapi_3_0(described))):
        named = set(re.findall(r'"#/components/schemas/(\w+)"', text))
        assert named
        assert named <= set(described["components"]["schemas"])
    ids = [o["operationId"] for methods in described["paths"].values() for o in methods.values()]
    assert len(ids) == len(set(ids))
    assert names_in("/a/{b}/{c:.*}/d") == ["b", "c"]
