"""Access to an HTTP API: who may send a request, decided before its body is read (RFC 6750)."""

import asyncio
import math
from pathlib import Path
from typing import Protocol

from aiohttp import web

from fedbus.core import clock
from fedbus.errors import SettingsError
from fedbus.http_api.failed_logins import FailedLogins
from fedbus.http_api.responses import ApiError
from fedbus.http_api.scopes import Scope
from fedbus.http_api.token_file import TokenFile
from fedbus.http_api.tokens import HttpToken, find_token
from fedbus.runtime.small_structlog import structlog

log = structlog.get_logger()
_SCHEME = "bearer "


class Access(Protocol):
    """Decides about requests."""

    async def refusal(self, request: web.Request, scope: Scope | None) -> ApiError | None:
        """Return why a request is refused, or None; `scope` is what its endpoint needs."""

    async def admits(self, request: web.Request) -> bool:
        """Return whether a request has a valid token of any scope."""


def bearer_token(request: web.Request) -> str | None:
    """Return the token of the header Authorization; None: there is none of this scheme."""
    authorization = request.headers.get("Authorization", "")
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        return None
    return authorization[len(_SCHEME) :].strip()


class TokenFileAccess:
    """Access with the tokens of a file, which is read again when it changes.

    Raises:
        SettingsError: The file cannot be read at the start, or other users can read it.
    """

    def __init__(self, path: Path) -> None:
        self._file = TokenFile(path)
        self._failed = FailedLogins()
        self._reading = asyncio.Lock()

    async def refusal(self, request: web.Request, scope: Scope | None) -> ApiError | None:
        """Return 401 without a valid token, 403 if it lacks the scope, 429 after many wrong ones.

        503: the file cannot be read; then no token is accepted.
        """
        await self._read_changed()
        try:
            found = self._find(request)
        except SettingsError:
            return ApiError(503, "this service cannot read its tokens; its log has the reason")
        if found is None:
            return self._wrong(request)
        if scope is not None and scope not in found.scopes:
            return ApiError(403, f"token {found.name} does not have the scope {scope}")
        return None

    async def admits(self, request: web.Request) -> bool:
        """Return whether a request has a token of the file; while it cannot be read, none has."""
        await self._read_changed()
        try:
            return self._find(request) is not None
        except SettingsError:
            return False

    def name_of(self, request: web.Request) -> str:
        """Return the name of an accepted request's token: who did what, for records and logs."""
        found = self._find(request)
        return "" if found is None else found.name

    def _find(self, request: web.Request) -> HttpToken | None:
        given = bearer_token(request)
        tokens = self._file.tokens()
        return None if given is None else find_token(tokens, given)

    def _wrong(self, request: web.Request) -> ApiError:
        if "Authorization" not in request.headers:
            return ApiError(
                401,
                "no token was sent; send one in the header Authorization: Bearer TOKEN",
                WWW_Authenticate="Bearer",
            )
        address = request.remote or ""
        if wait := self._failed.record(address, clock.monotonic()):
            seconds = math.ceil(wait)
            return ApiError(
                429, f"too many wrong tokens; wait {seconds} s", Retry_After=str(seconds)
            )
        log.warning("http_login_failed", address=address, path=request.path[:200])
        return ApiError(
            401,
            "this token is not valid here; `fedbus tokens new` makes one",
            WWW_Authenticate='Bearer error="invalid_token"',
        )

    async def _read_changed(self) -> None:
        if self._file.is_current():
            return
        async with self._reading:
            if self._file.is_current():
                return
            await asyncio.to_thread(self._file.load)
        try:
            log.info("http_tokens_read", tokens=len(self._file.tokens()))
        except SettingsError as error:
            log.warning("http_tokens_unreadable", reason=str(error))
