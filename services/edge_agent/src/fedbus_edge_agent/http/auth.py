"""Who may come in by the agent's own doors: whoever has the token. Pure but for reading its file.

Without a token they stay closed, unless the owner says so and only this machine can reach them.
"""

import hmac
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from fedbus.errors import SettingsError

MIN_TOKEN = 16
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class TokenAuth:
    """The token that is asked for; none on a loopback address whose owner wants none."""

    token: str | None = field(repr=False)

    def refusal(self, authorization: str, host: str, origin: str | None) -> str | None:
        """Say why a request may not come in; None: it may.

        Without a token, a page in a browser on this machine could ask as well. It says its origin,
        and, if it has our address under a name of its own, another host.
        """
        if self.token is not None:
            scheme, given = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :].strip()
            # Compared in constant time, and as bytes: a header may hold anything.
            same = hmac.compare_digest(given.encode(errors="replace"), self.token.encode())
            if scheme.lower() == _SCHEME and same:
                return None
            said = "another token" if authorization else "no token"
            return f"{said}; send the agent's own: Authorization: Bearer …"
        if origin is not None:
            return "web pages may not ask an agent that wants no token"
        if not _is_loopback(host.rpartition(":")[0] or host):
            return f"this is not {host[:64]}"
        return None


def read_token_auth(
    http: str | None, token: str | None, token_file: Path | None, *, wide_open: bool
) -> TokenAuth | None:
    """Read who may come in; None: nobody, the doors stay closed.

    Raises:
        SettingsError: the settings contradict each other, or would let anybody in.
    """
    if token and token_file is not None:
        raise SettingsError("FEDBUS_HTTP_TOKEN and FEDBUS_HTTP_TOKEN_FILE: give one of them")
    if token_file is not None:
        name = "FEDBUS_HTTP_TOKEN_FILE"
        try:
            token = token_file.read_text(encoding="ascii").strip()
        except OSError as error:
            raise SettingsError(f"{name}: {token_file}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SettingsError(f"{name}: {token_file}: not ASCII") from error
    else:
        name = "FEDBUS_HTTP_TOKEN"
    if token is not None and not (len(token) >= MIN_TOKEN and _TOKEN.fullmatch(token)):
        # The token itself is in no sentence: sentences end up in logs.
        raise SettingsError(
            f"{name}: a token has {MIN_TOKEN} letters, digits or ._~+/=- at least; "
            "`openssl rand -hex 32` makes one"
        )
    if http is None or (token is None and not wide_open):
        return None
    if token is not None and wide_open:
        raise SettingsError("FEDBUS_HTTP_OPEN=true: but there is a token; leave one of them out")
    if token is None and not _is_loopback(http.rpartition(":")[0]):
        raise SettingsError(
            f"FEDBUS_HTTP_OPEN=true: {http} can be reached from elsewhere; only a loopback address "
            "(127.0.0.1) goes without FEDBUS_HTTP_TOKEN_FILE"
        )
    return TokenAuth(token)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
