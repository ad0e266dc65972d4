"""Routes of the agent's HTTP API, with its own access rule around the handlers."""

from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from fedbus.http_api.access import Access
from fedbus.http_api.responses import ApiError
from fedbus.http_api.routes import TOKENS_FILE, api_off, routes_of
from fedbus.http_api.scopes import Scope
from fedbus.runtime.http import HttpApi
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.http.auth import TokenAuth
from fedbus_edge_agent.http.endpoints import description
from fedbus_edge_agent.http.handlers import Handlers
from fedbus_edge_agent.http.prometheus import AgentMetrics, JobMetrics


@dataclass(frozen=True, slots=True)
class AgentAccess:
    """Access with the agent's one token, which allows everything, or from this machine only."""

    auth: TokenAuth

    async def refusal(self, request: web.Request, scope: Scope | None) -> ApiError | None:  # noqa: ARG002 - one token has all scopes
        """Return 401 or 403 for a request that is not allowed."""
        reason = self._reason(request)
        if reason is None:
            return None
        if self.auth.token is None:
            return ApiError(403, reason)
        return ApiError(401, reason, WWW_Authenticate="Bearer")

    async def admits(self, request: web.Request) -> bool:
        """Return whether a request is allowed."""
        return self._reason(request) is None

    def _reason(self, request: web.Request) -> str | None:
        headers = request.headers
        authorization, host = headers.get("Authorization", ""), headers.get("Host", "")
        return self.auth.refusal(authorization, host, headers.get("Origin"))


def metrics_only(core: AgentCore, home: Path) -> HttpApi:
    """Return the API of an agent without a token: its metrics, and 404 for other paths."""
    metrics, off = AgentMetrics(core, home), api_off(f"FEDBUS_HTTP_TOKEN_FILE or {TOKENS_FILE}")
    return HttpApi(off.routes, (metrics,), work_is_secret=True)


def agent_api(handlers: Handlers, access: Access, home: Path) -> HttpApi:
    """Return the API of an agent; metrics that name jobs need a token as well."""
    core = handlers.core
    return HttpApi(
        routes_of(description(), handlers, access),
        (AgentMetrics(core, home),),
        (JobMetrics(core),),
        access.admits,
        work_is_secret=True,
    )
