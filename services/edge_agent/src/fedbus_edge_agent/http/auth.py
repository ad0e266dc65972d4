"""Bearer-token authentication of the agent's HTTP API (RFC 6750).

Without a token the API is off, unless the owner allows open access on a loopback address.
"""

import hmac
import re
from dataclasses import dataclass, field
from pathlib import Path

from fedbus.errors import SettingsError
from fedbus.http_api.loopback_hosts import is_loopback

MIN_TOKEN_CHARACTERS = 16
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class TokenAuth:
    """Check of requests against a token; None allows all requests from this machine's programs."""

    token: str | None = field(repr=False)

    def refusal(self, authorization: str, host: str, origin: str | None) -> str | None:
        """Return why a request with these headers is not allowed, or None if it is.

        Without a token, a web page in a browser of this machine could send requests as well. They
        have an origin, or another host if the page's own name resolves to this address.
        """
        if self.token is not None:
            scheme, given = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :].strip()
            # Compared in constant time, and as bytes: a header may hold any characters.
            same = hmac.compare_digest(given.encode(errors="replace"), self.token.encode())
            if scheme.lower() == _SCHEME and same:
                return None
            got = "another token" if authorization else "no token"
            return (
                f"{got} was sent; send this agent's token in the header Authorization: Bearer TOKEN"
            )
        if origin is not None:
            return "web pages may not use an agent without a token; set FEDBUS_HTTP_TOKEN_FILE"
        if not is_loopback(host.rpartition(":")[0] or host):
            return f"expected a loopback address as host, got {host[:64]}"
        return None


def read_token_auth(
    http: str | None, token: str | None, token_file: Path | None, *, wide_open: bool
) -> TokenAuth | None:
    """Return the authentication that the settings describe; None: the API is off.

    Raises:
        SettingsError: The settings contradict each other, the token is too short, or other machines
            could use the API without a token.
    """
    if token and token_file is not None:
        raise SettingsError("FEDBUS_HTTP_TOKEN and FEDBUS_HTTP_TOKEN_FILE: set one of them only")
    name = "FEDBUS_HTTP_TOKEN"
    if token_file is not None:
        name = "FEDBUS_HTTP_TOKEN_FILE"
        try:
            token = token_file.read_text(encoding="ascii").strip()
        except OSError as error:
            raise SettingsError(f"{name}: {token_file}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SettingsError(f"{name}: {token_file}: not ASCII") from error
    if token is not None and not (len(token) >= MIN_TOKEN_CHARACTERS and _TOKEN.fullmatch(token)):
        # The message does not quote the token, since messages are logged.
        raise SettingsError(
            f"{name}: expected at least {MIN_TOKEN_CHARACTERS} letters, digits or ._~+/=-; "
            "`openssl rand -hex 32` makes a token"
        )
    if http is None or (token is None and not wide_open):
        return None
    if token is not None and wide_open:
        raise SettingsError("FEDBUS_HTTP_OPEN=true, but there is a token; remove one of them")
    if token is None and not is_loopback(http.rpartition(":")[0]):
        raise SettingsError(
            f"FEDBUS_HTTP_OPEN=true: other machines can reach {http}; listen on a loopback address "
            "(127.0.0.1), or set FEDBUS_HTTP_TOKEN_FILE"
        )
    return TokenAuth(token)
