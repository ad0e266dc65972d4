"""HTTP API of the inference service: routes, metrics, and who may ask for predictions."""

from typing import Final

from aiohttp import web

from fedbus.http_api.access import Access, TokenFileAccess
from fedbus.http_api.loopback_hosts import is_loopback
from fedbus.http_api.responses import ApiError
from fedbus.http_api.routes import off_route, routes_of
from fedbus.http_api.scopes import Scope
from fedbus.runtime.http import HttpApi
from fedbus_inference.http.inference_endpoints import description
from fedbus_inference.http.inference_handlers import InferenceHandlers
from fedbus_inference.metrics import InferenceMetrics
from fedbus_inference.prediction_gateway import PredictionGateway
from fedbus_inference.serving_stats import ServingStats
from fedbus_inference.settings import InferenceSettings

_OFF: Final = (
    "predictions over HTTP are off; set FEDBUS_HTTP_TOKENS_FILE, or on a loopback address "
    "FEDBUS_HTTP_OPEN=true"
)


class LoopbackAccess:
    """Access of this machine's programs without a token; a web page in a browser has none.

    A page's requests have an origin, or another host if its own name resolves to this address.
    """

    async def refusal(self, request: web.Request, _: Scope | None) -> ApiError | None:
        """Return 403 for a request that may come from a web page."""
        if await self.admits(request):
            return None
        return ApiError(403, "web pages may not ask without a token; set FEDBUS_HTTP_TOKENS_FILE")

    async def admits(self, request: web.Request) -> bool:
        """Return whether a request is one of this machine's programs."""
        host = request.headers.get("Host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        return "Origin" not in request.headers and is_loopback(name)


def inference_api(
    gateway: PredictionGateway, stats: ServingStats, settings: InferenceSettings
) -> HttpApi:
    """Return the API: without tokens, and not open, its metrics alone.

    Raises:
        SettingsError: The tokens cannot be read.
    """
    metrics = InferenceMetrics(stats)
    if settings.http_tokens_file is None and not settings.http_open:
        return HttpApi((off_route(_OFF),), (metrics,), metrics_at_root=True)
    access: Access = LoopbackAccess()
    if settings.http_tokens_file is not None:
        access = TokenFileAccess(settings.http_tokens_file)
    handlers = InferenceHandlers(gateway, settings.max_request_mb)
    routes = routes_of(description(), handlers, access)
    return HttpApi(routes, (metrics,), is_authorized=access.admits, metrics_at_root=True)
