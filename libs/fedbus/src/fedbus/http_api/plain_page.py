"""Description of an HTTP API as one HTML page that loads no other file. Pure.

It is served where the package of Swagger UI is not installed, as on a small device.
"""

import json
from collections.abc import Mapping
from html import escape
from typing import Any, Final

PLAIN_PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""The Content-Security-Policy of the page."""
_HEADER = "a token: <code>Authorization: Bearer …</code>"
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
code,pre{font:14px/1.4 ui-monospace,monospace}pre{overflow:auto;background:#8881;padding:.6rem}
summary{cursor:pointer}b{display:inline-block;min-width:4.5rem}td{padding:0 1rem 0 0}
"""


def plain_page(description: Mapping[str, Any]) -> str:
    """Return the OpenAPI description as one HTML page."""
    info = description["info"]
    title = escape(info["title"])
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>',
        f"<style>{_STYLE}</style><h1>{title} {escape(info['version'])}</h1>",
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
