"""Swagger UI, an interactive page for an API, from the files of the package `swagger-ui-bundle`.

The page loads files of this service only, and its Content-Security-Policy lets a browser load no
others: no script in the page itself, nothing from elsewhere, in no frame of another page.
"""

from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Final

SWAGGER_UI_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DESCRIPTION: Final = "openapi-3.0.json"
"""The description as OpenAPI 3.0: the package has Swagger UI 4, which shows no later one."""
_START = "start.js"
_KINDS: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
}
"""The only files that are served, whatever a request names."""
_SCRIPT = f"""\
window.addEventListener("load", () => {{
  SwaggerUIBundle({{
    url: "docs/{DESCRIPTION}",
    dom_id: "#swagger-ui",
    deepLinking: true,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis],
  }});
}});
"""


def is_installed() -> bool:
    """Return whether the package with Swagger UI's files is installed."""
    return find_spec("swagger_ui_bundle") is not None


def page(title: str) -> str:
    """Return the page, for the path /docs."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        '<link rel="stylesheet" href="docs/swagger-ui.css"><div id="swagger-ui"></div>'
        '<noscript>This page needs JavaScript; <a href="openapi.json">openapi.json</a> has the '
        "same description.</noscript>"
        f'<script src="docs/swagger-ui-bundle.js"></script><script src="docs/{_START}"></script>'
        "</html>\n"
    )


def read_asset(name: str) -> tuple[bytes, str] | None:
    """Return the content and type of a file of the page; None: it has no such file."""
    if name == _START:
        return _SCRIPT.encode(), "text/javascript"
    if name not in _KINDS or not is_installed():
        return None
    from swagger_ui_bundle import swagger_ui_path  # noqa: PLC0415 - an optional package

    return (Path(str(swagger_ui_path)) / name).read_bytes(), _KINDS[name]
