"""Description of the agent's HTTP API: as OpenAPI 3.1, and as one HTML page. Pure."""

import json
import re
from collections.abc import Mapping
from html import escape
from typing import Any

from pydantic import TypeAdapter

from fedbus import jobs
from fedbus_edge_agent.http.endpoints import (
    ENDPOINTS,
    JOB_FILE,
    KINDS,
    REFERENCE,
    Endpoint,
    schema_of,
)
from fedbus_edge_agent.standalone.schemas import Problem

_NOT_IN_IDS = re.compile(r"[^a-z_]+")


def document(version: str) -> dict[str, Any]:
    """Return the OpenAPI description of all endpoints."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "fedbus agent", "version": version},
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    names = [part[1:-1] for part in endpoint.path.split("/") if part.startswith("{")]
    operation: dict[str, Any] = {
        "operationId": _NOT_IN_IDS.sub("_", f"{endpoint.method.lower()}{endpoint.path}").strip("_"),
        "summary": endpoint.summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ],
        "responses": {},
    }
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
    for status, reason in sorted(errors.items()):
        problem = {"application/json": {"schema": schema_of(Problem)}}
        operation["responses"][str(status)] = {"description": reason, "content": problem}
    return operation


def _schemas() -> dict[str, Any]:
    found: dict[str, Any] = {}
    schemas = {
        kind.__name__: TypeAdapter(kind).json_schema(ref_template=REFERENCE) for kind in KINDS
    }
    for name, schema in (*schemas.items(), (JOB_FILE, jobs.schema(REFERENCE))):
        found.update(schema.pop("$defs", {}))
        found[name] = schema
    return found


_HEADER = "the agent's token: <code>Authorization: Bearer …</code>"
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
code,pre{font:14px/1.4 ui-monospace,monospace}pre{overflow:auto;background:#8881;padding:.6rem}
summary{cursor:pointer}b{display:inline-block;min-width:4.5rem}td{padding:0 1rem 0 0}
"""


def page(description: Mapping[str, Any]) -> str:
    """Return the OpenAPI description as one HTML page that loads no other file."""
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>fedbus agent</title>',
        f"<style>{_STYLE}</style><h1>fedbus agent {escape(description['info']['version'])}</h1>",
        f"<p>All paths but this page and <code>/openapi.json</code> need {_HEADER}</p>",
    ]
    for path, methods in description["paths"].items():
        parts += [_section(path, method, operation) for method, operation in methods.items()]
    parts.append("<h2>Schemas</h2>")
    for name, schema in sorted(description["components"]["schemas"].items()):
        label, shown = escape(name), escape(json.dumps(schema, indent=1))
        summary = f'<details id="{label}"><summary>{label}</summary>'
        parts.append(f"{summary}<pre>{shown}</pre></details>")
    return "\n".join(parts)


def _section(path: str, method: str, operation: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(status)}<td>{escape(response['description'])}"
        f"<td>{_links(response.get('content', {}))}</tr>"
        for status, response in operation["responses"].items()
    )
    body_types = _links(operation.get("requestBody", {}).get("content", {}))
    body = f"<p>request body: {body_types}</p>" if body_types else ""
    return (
        f"<details><summary><b>{escape(method.upper())}</b> <code>{escape(path)}</code> "
        f"{escape(operation['summary'])}</summary>{body}<table>{rows}</table></details>"
    )


def _links(content: Mapping[str, Any]) -> str:
    shown = []
    for kind, described in content.items():
        name = described["schema"].get("$ref", "").rpartition("/")[2]
        link = f' <a href="#{escape(name)}">{escape(name)}</a>' if name else ""
        shown.append(f"{escape(kind)}{link}")
    return ", ".join(shown)
