"""Routes of the agent's HTTP API, with authentication and error responses around the handlers."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from fedbus.errors import FedbusError, StoreError
from fedbus.jobs import JobFileError
from fedbus.runtime.http import HttpApi
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.http.auth import TokenAuth
from fedbus_edge_agent.http.endpoints import ENDPOINTS
from fedbus_edge_agent.http.handlers import Handlers
from fedbus_edge_agent.http.prometheus import AgentMetrics, JobMetrics
from fedbus_edge_agent.http.responses import ApiError, error_response

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def metrics_only(core: AgentCore, home: Path) -> HttpApi:
    """Return the API of an agent without a token: its metrics, and 404 for other paths."""
    metrics = AgentMetrics(core, home)
    return HttpApi((web.route("*", "/{tail:.*}", _off),), (metrics,), work_is_secret=True)


def agent_api(handlers: Handlers, auth: TokenAuth, home: Path) -> HttpApi:
    """Return the API of an agent; metrics that name jobs need the token as well."""
    routes = [
        web.route(
            endpoint.method,
            path,
            _guard(getattr(handlers, endpoint.handler), None if endpoint.public else auth),
        )
        for endpoint in ENDPOINTS
        for path in dict.fromkeys((endpoint.path, endpoint.path.rstrip("/")))
    ]
    routes.append(web.route("*", "/{tail:.*}", _guard(handlers.not_found, auth)))
    core = handlers.core
    return HttpApi(
        routes,
        (AgentMetrics(core, home),),
        (JobMetrics(core),),
        lambda request: not _refusal(auth, request),
        work_is_secret=True,
    )


async def _off(_: web.Request) -> web.Response:
    return error_response(ApiError(404, "this agent's API is off; set FEDBUS_HTTP_TOKEN_FILE"))


def _guard(handle: Handler, auth: TokenAuth | None) -> Handler:
    """Check a request before its body is read, and convert errors to responses."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if auth is not None and (reason := _refusal(auth, request)):
            if auth.token is None:
                return error_response(ApiError(403, reason))
            return error_response(ApiError(401, reason, WWW_Authenticate="Bearer"))
        try:
            return await handle(request)
        except ApiError as error:
            return error_response(error)
        except JobFileError as error:
            return error_response(ApiError(400, str(error)), error.faults)
        except FedbusError as error:
            status = 507 if isinstance(error, StoreError) else 400
            return error_response(ApiError(status, str(error)))

    return guarded


def _refusal(auth: TokenAuth, request: web.Request) -> str | None:
    headers = request.headers
    authorization, host = headers.get("Authorization", ""), headers.get("Host", "")
    return auth.refusal(authorization, host, headers.get("Origin"))
