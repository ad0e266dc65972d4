"""Access to the gRPC interface: the tokens of the HTTP API, in the metadata `authorization`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc

from fedbus.errors import SettingsError
from fedbus.http_api.scopes import Scope
from fedbus.http_api.token_file import TokenFile
from fedbus.http_api.tokens import find_token

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

    A call is refused before its message is read. The file is read again when it has changed.
    """

    def __init__(self, file: TokenFile) -> None:
        self._file = file

    async def intercept_service(self, continuation: Next, call: Any) -> Any:  # noqa: ANN401 - grpc has no types
        """Return the handler of a call, or one that ends it with a status."""
        if call.method not in PUBLIC_METHODS:
            metadata = dict(call.invocation_metadata or ())
            if refused := await self._refusal(str(metadata.get("authorization", ""))):
                return _ending(*refused)
        return await continuation(call)

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


def _ending(code: grpc.StatusCode, sentence: str) -> Any:  # noqa: ANN401 - grpc has no types
    async def end(_: Any, context: Any) -> None:  # noqa: ANN401 - grpc has no types
        await context.abort(code, sentence)

    # A handler of streams is called before any message is read.
    return grpc.stream_stream_rpc_method_handler(end)
