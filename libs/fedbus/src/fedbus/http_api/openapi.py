"""Description of an HTTP API as OpenAPI, version 3.1, and 3.0 for Swagger UI. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from fedbus.http_api.endpoints import ApiDescription, Endpoint, Problem, schema_of

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_]+")


def document(api: ApiDescription, version: str) -> dict[str, Any]:
    """Return the OpenAPI description of all endpoints."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in api.endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": api.title, "version": version},
        "paths": paths,
        "components": {
            "schemas": dict(api.schemas),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def names_in(path: str) -> list[str]:
    """Return the names of the parameters in a path, such as `/model/{name}`."""
    return [part.strip("{}").partition(":")[0] for part in re.findall(r"\{[^}]*\}", path)]


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    text = {"type": "string"}
    operation: dict[str, Any] = {
        "operationId": _NOT_IN_IDS.sub("_", f"{endpoint.method.lower()}{endpoint.path}").strip("_"),
        "summary": endpoint.summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": text}
            for name in names_in(endpoint.path)
        ]
        + [
            {"name": name, "in": "query", "description": what, "schema": text}
            for name, what in endpoint.query.items()
        ],
        "responses": {},
    }
    if endpoint.scope is not None:
        operation["description"] = f"The token needs the scope `{endpoint.scope}`."
    if endpoint.body is not None:
        kind, schema = endpoint.body
        operation["requestBody"] = {"required": True, "content": {kind: {"schema": schema}}}
    success, kind, schema = endpoint.response
    content = {"content": {kind: {"schema": schema}}} if kind else {}
    operation["responses"][str(success)] = {"description": "success", **content}
    errors = dict(endpoint.errors)
    if endpoint.public:
        operation["security"] = []
    else:
        errors[401] = "no token, or another one"
        if endpoint.scope is not None:
            errors[403] = f"the token does not have the scope `{endpoint.scope}`"
            errors[429] = "too many requests with a wrong token"
    for status, reason in sorted(errors.items()):
        problem = {"application/json": {"schema": schema_of(Problem)}}
        operation["responses"][str(status)] = {"description": reason, "content": problem}
    return operation


def as_openapi_3_0(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description as OpenAPI 3.0, which is all that Swagger UI 4 shows.

    A schema's type `null` becomes `nullable`, and a constant an enumeration of one value.
    """
    older = _older(description)
    assert isinstance(older, dict)  # noqa: S101 - a mapping becomes a dict
    return {**older, "openapi": "3.0.3"}


def _older(part: object) -> object:
    if isinstance(part, list | tuple):
        return [_older(each) for each in part]
    if not isinstance(part, Mapping):
        return part
    found = {key: _older(value) for key, value in part.items()}
    if "const" in found and "enum" not in found:
        found["enum"] = [found.pop("const")]
    choices = found.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        left = [choice for choice in choices if choice != {"type": "null"}]
        del found["anyOf"]
        found |= {"nullable": True, **({"allOf": left} if len(left) == 1 else {"anyOf": left})}
    return found
