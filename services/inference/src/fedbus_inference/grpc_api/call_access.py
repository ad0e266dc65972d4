"""Access to the gRPC interface: the tokens of the HTTP API, in the metadata `authorization`."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote

import grpc

from fedbus.core import clock
from fedbus.errors import SettingsError
from fedbus.http_api.failed_logins import FailedLogins
from fedbus.http_api.scopes import Scope
from fedbus.http_api.token_file import TokenFile
from fedbus.http_api.tokens import find_token
from fedbus.runtime.small_structlog import structlog

log = structlog.get_logger()

SCOPE: Final[Scope] = "inference"
PUBLIC_METHODS: Final = frozenset(
    f"/inference.GRPCInferenceService/{name}"
    for name in ("ServerLive", "ServerReady", "ServerMetadata")
)
"""What a probe asks, as over HTTP."""
_SCHEME: Final = "bearer "
Next = Callable[[Any], Awaitable[Any]]


class CallAccess(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Refuses calls without a token of the file that has the scope `inference`.

    A call is refused before its message is read. The file is read again when it has changed. After
    many wrong tokens, an address is told to wait, as over HTTP.
    """

    def __init__(self, file: TokenFile) -> None:
        self._file = file
        self._failed = FailedLogins()

    async def intercept_service(self, continuation: Next, call: Any) -> Any:  # noqa: ANN401 - grpc has no types
        """Return the handler of a call, or one that ends it with a status."""
        if call.method not in PUBLIC_METHODS:
            metadata = dict(call.invocation_metadata or ())
            authorization = str(metadata.get("authorization", ""))
            if refused := await self._refusal(authorization):
                is_wrong = bool(authorization) and refused[0] is grpc.StatusCode.UNAUTHENTICATED
                return self._ending(*refused, is_wrong=is_wrong)
        return await continuation(call)

    def _ending(self, code: grpc.StatusCode, sentence: str, *, is_wrong: bool) -> Any:  # noqa: ANN401 - grpc has no types
        async def end(_: Any, context: Any) -> None:  # noqa: ANN401 - grpc has no types
            address = address_of(str(context.peer()))
            if is_wrong and (wait := self._failed.record(address, clock.monotonic())):
                seconds = f"too many wrong tokens; wait {math.ceil(wait)} s"
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, seconds)
            if is_wrong:
                log.warning("grpc_login_failed", address=address)
            await context.abort(code, sentence)

        # A handler of streams is called before any message is read.
        return grpc.stream_stream_rpc_method_handler(end)

    async def _refusal(self, authorization: str) -> tuple[grpc.StatusCode, str] | None:
        if not self._file.is_current():
            await asyncio.to_thread(self._file.load)
        try:
            tokens = self._file.tokens()
        except SettingsError:
            sentence = "this service cannot read its tokens; its log has the reason"
            return grpc.StatusCode.UNAVAILABLE, sentence
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            sentence = "no token was sent; send one in the metadata authorization: Bearer TOKEN"
            return grpc.StatusCode.UNAUTHENTICATED, sentence
        found = find_token(tokens, authorization[len(_SCHEME) :].strip())
        if found is None:
            sentence = "this token is not valid here; `fedbus tokens new` makes one"
            return grpc.StatusCode.UNAUTHENTICATED, sentence
        if SCOPE not in found.scopes:
            sentence = f"token {found.name} does not have the scope {SCOPE}"
            return grpc.StatusCode.PERMISSION_DENIED, sentence
        return None


def address_of(peer: str) -> str:
    """Return the IP address in grpc's name of a peer: `ipv4:127.0.0.1:5000`, `ipv6:[::1]:5000`."""
    host = unquote(peer).partition(":")[2].rpartition(":")[0]
    return host.strip("[]")
