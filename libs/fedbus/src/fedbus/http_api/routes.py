"""Routes of an HTTP API: access is checked before a body is read, errors become sentences.

A path that no endpoint has gets 404, and a path of an endpoint with another method 405.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from operator import attrgetter
from typing import Final

from aiohttp import web
from aiohttp.web_exceptions import HTTPException

from fedbus.distributions import version_of
from fedbus.http_api import openapi, swagger_ui
from fedbus.http_api.access import Access
from fedbus.http_api.endpoints import PAGES, ApiDescription, Endpoint
from fedbus.http_api.plain_page import PLAIN_PAGE_POLICY, plain_page
from fedbus.http_api.request_bodies import refuse_coding
from fedbus.http_api.request_parameters import refuse_other_parameters
from fedbus.http_api.responses import ApiError, error_response, response_of
from fedbus.http_api.scopes import Scope
from fedbus.runtime.http import HttpApi

TOKENS_FILE = "FEDBUS_HTTP_TOKENS_FILE"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_ALL_PATHS: Final = "/{tail:.*}"
_PAGES = frozenset(endpoint.handler for endpoint in PAGES)


def routes_of(
    api: ApiDescription, handlers: object, access: Access
) -> Sequence[web.AbstractRouteDef]:
    """Return the routes of an API, with HEAD beside each GET, and one for all other requests.

    `handlers` has a coroutine method for each endpoint, under its name; `models.show` is the method
    `show` of its attribute `models`.
    """
    pages = DescriptionPages(api)

    def handler_of(endpoint: Endpoint) -> Handler:
        place = pages if endpoint.handler in _PAGES else handlers
        handler: Handler = attrgetter(endpoint.handler)(place)
        writes = endpoint.scope is not None and endpoint.scope.endswith(":write")
        query = (
            endpoint.query if writes else None
        )  # a parameter that is not read may be a condition
        return guard(handler, None if endpoint.public else access, endpoint.scope, query)

    routes: list[web.AbstractRouteDef] = []
    for endpoint in api.endpoints:
        handler = handler_of(endpoint)
        paths = dict.fromkeys((endpoint.path, endpoint.path.rstrip("/")))
        # aiohttp adds HEAD to GET.
        routes.extend(web.route(endpoint.method, path, handler) for path in paths)
    routes.append(web.route("GET", "/docs/{file}", guard(pages.docs_file, None)))
    routes.append(web.route("*", _ALL_PATHS, guard(pages.not_found, access)))
    return routes


def api_off(setting: str = TOKENS_FILE) -> HttpApi:
    """Return the API of a service without tokens: 404 for all paths but `/healthz`, `/metrics`."""
    return HttpApi((off_route(f"this service's API is off; set {setting}"),))


def off_route(reason: str) -> web.AbstractRouteDef:
    """Return the route of all paths of an API that is off: 404 with the reason."""

    async def off(request: web.Request) -> web.Response:
        return error_response(await _refusal(request, reason))

    return web.route("*", _ALL_PATHS, off)


async def _refusal(request: web.Request, unknown: str) -> ApiError:
    """Return 405 with the methods of the request's path; 404 `unknown` without others than its."""
    methods = set[str]()
    for resource in request.app.router.resources():
        methods |= (await resource.resolve(request))[1]
    methods -= {"*"}  # the route of all paths, which has led here
    if not methods or request.method in methods:
        return ApiError(404, unknown)
    allowed = ", ".join(sorted(methods))
    said = f"{request.path[:200]} takes {allowed}; not {request.method[:20]}"
    return ApiError(405, said, Allow=allowed)


def guard(
    handle: Handler,
    access: Access | None,
    scope: Scope | None = None,
    query: Collection[str] | None = None,
) -> Handler:
    """Check a request before its body is read, and convert errors to responses.

    `query` has the parameters that are known; None: others are not refused.
    """

    async def guarded(request: web.Request) -> web.StreamResponse:
        if access is not None and (refused := await access.refusal(request, scope)):
            return error_response(refused)
        try:
            refuse_coding(request)
            if query is not None:
                refuse_other_parameters(request, query)
            return await handle(request)
        except HTTPException:
            raise
        except Exception as error:  # noqa: BLE001 - unexpected ones are raised again
            return response_of(error)

    return guarded


class DescriptionPages:
    """The pages that describe an API: made once, at the first request."""

    def __init__(self, api: ApiDescription) -> None:
        self._api = api
        self._version = version_of("fedbus")

    async def openapi(self, _: web.Request) -> web.Response:
        """Return the OpenAPI description."""
        return web.json_response(openapi.document(self._api, self._version))

    async def docs(self, _: web.Request) -> web.Response:
        """Return the description as a page: Swagger UI, or a plain one without its package."""
        if await asyncio.to_thread(swagger_ui.is_installed):
            text, policy = swagger_ui.page(self._api.title), swagger_ui.SWAGGER_UI_POLICY
        else:
            text = plain_page(openapi.document(self._api, self._version))
            policy = PLAIN_PAGE_POLICY
        headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def docs_redirect(self, _: web.Request) -> web.Response:
        """Lead from ASSIST-IoT's path `/api/docs` to the page, also behind a path prefix."""
        return web.Response(status=308, headers={"Location": "../docs"})

    async def docs_file(self, request: web.Request) -> web.Response:
        """Return a file that the page of Swagger UI loads."""
        name = request.match_info["file"]
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "max-age=3600"}
        if name == swagger_ui.DESCRIPTION:
            older = openapi.as_openapi_3_0(openapi.document(self._api, self._version))
            return web.Response(text=json.dumps(older), content_type="application/json")
        found = await asyncio.to_thread(swagger_ui.read_asset, name)
        if found is None:
            return await self.not_found(request)
        body, kind = found
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)

    async def not_found(self, request: web.Request) -> web.Response:
        """Reject a request for an unknown path, or with a method that its path does not have."""
        path = f"{request.method[:20]} {request.path[:200]}"
        raise await _refusal(request, f"{path} is no endpoint of this service; see /docs")
