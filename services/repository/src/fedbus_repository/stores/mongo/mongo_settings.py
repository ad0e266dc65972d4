"""Settings of the connection to MongoDB, checked before a driver sees them. Pure.

A password is never part of a URL, which is seen in process lists and in `docker inspect`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from fedbus.errors import SettingsError

DEFAULT_DATABASE: Final = "fedbus"
MAX_DATABASE_NAME: Final = 63
"""Bytes of a database's name that MongoDB allows."""
FIXED_OPTIONS: Final = {
    "w": "every write waits for a majority",
    "journal": "every write waits for the journal",
    "j": "every write waits for the journal",
    "fsync": "every write waits for the journal",
    "wtimeoutms": "the operation's deadline bounds every write",
    "readconcernlevel": "reads see what a majority has",
    "readpreference": "reads go to the primary",
    "retrywrites": "the driver repeats a write that was interrupted",
    "retryreads": "the driver repeats a read that was interrupted",
    "timeoutms": "the store bounds every operation",
}
"""Options of a URL that the store sets itself, in lower case, with what it does."""
UNSAFE_OPTIONS: Final = frozenset(
    {
        "tlsinsecure",
        "tlsallowinvalidcertificates",
        "tlsallowinvalidhostnames",
        "tlsdisableocspendpointcheck",
        "ssl_cert_reqs",
        "ssl_match_hostname",
    }
)
"""Options that would accept a server whose certificate was not verified."""


@dataclass(frozen=True, slots=True)
class MongoSettings:
    """Where the database is and how long the store waits for it.

    Attributes:
        url: `mongodb://[USER@]HOST[:PORT][,…][/DATABASE][?OPTIONS]`, or `mongodb+srv://…`.
        password: The user's password; hidden in `repr`.
        ca_file: CA certificates in PEM that the server's certificate must come from. If it is
            given, the connection uses TLS; without it `tls=true` in the URL uses the system's.
        database: Name of the database; empty: the one in the URL, or `fedbus`.
        connect_seconds: Time to find a server, connect and log in when the store opens.
        operation_seconds: Time for one operation later, its repetitions by the driver included.
    """

    url: str
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    database: str = ""
    connect_seconds: float = 10.0
    operation_seconds: float = 20.0

    @property
    def address(self) -> str:
        """The hosts of the URL, for messages."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    @property
    def user(self) -> str | None:
        """The user's name in the URL."""
        name = urlsplit(self.url).netloc.rpartition("@")[0]
        return unquote(name) or None

    @property
    def database_name(self) -> str:
        """The name of the database."""
        return self.database or unquote(urlsplit(self.url).path.lstrip("/")) or DEFAULT_DATABASE

    @property
    def tls(self) -> bool:
        """Whether the connection uses TLS."""
        options = _options(self.url)
        named = options.get("tls", options.get("ssl"))
        srv = urlsplit(self.url).scheme == "mongodb+srv"
        return self.ca_file is not None or (srv if named is None else named == "true")

    def check(self) -> None:
        """Raise SettingsError for a URL that the store does not use; it never has the password."""
        _check_address(self.url)
        _check_options(self.url)
        if self.password is not None and self.user is None:
            raise SettingsError(
                "FEDBUS_STORE_PASSWORD_FILE is set, but FEDBUS_STORE names no user: write"
                " mongodb://USER@HOST/DATABASE"
            )
        if self.ca_file is not None and _tls_is_off(self.url):
            raise SettingsError(
                "FEDBUS_STORE_CA_FILE is set, but FEDBUS_STORE has tls=false: remove one of them"
            )
        if self.ca_file is not None and not self.ca_file.is_file():
            raise SettingsError(
                f"FEDBUS_STORE_CA_FILE: no file {self.ca_file}; give the CA's certificate in PEM"
            )
        _check_database_name(self.database_name)


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise SettingsError("FEDBUS_STORE: not a URL; write mongodb://HOST/DATABASE") from None
    if parts.scheme not in {"mongodb", "mongodb+srv"}:
        raise SettingsError(
            f"FEDBUS_STORE: a URL of MongoDB begins with mongodb:// or mongodb+srv://, not"
            f" {parts.scheme[:20]!r}"
        )
    login, _, hosts = parts.netloc.rpartition("@")
    if ":" in login:
        raise SettingsError(
            "FEDBUS_STORE: a password in the URL can be read in process lists; remove it and put it"
            " into a file that FEDBUS_STORE_PASSWORD_FILE names"
        )
    if "@" in login:
        raise SettingsError("FEDBUS_STORE: write an @ in a user's name as %40")
    if not hosts:
        raise SettingsError("FEDBUS_STORE: no host; write mongodb://HOST/DATABASE")


def _check_options(url: str) -> None:
    for name in _options(url):
        if name in FIXED_OPTIONS:
            raise SettingsError(
                f"FEDBUS_STORE: remove the option {name}: {FIXED_OPTIONS[name]}, and no option"
                " changes that"
            )
        if name in UNSAFE_OPTIONS:
            raise SettingsError(
                f"FEDBUS_STORE: remove the option {name}: the server's certificate is always"
                " verified; name the CA that signed it in FEDBUS_STORE_CA_FILE"
            )


def _check_database_name(name: str) -> None:
    if len(name.encode()) > MAX_DATABASE_NAME or set(name) & set('/\\. "$*<>:|?\0'):
        raise SettingsError(
            f"FEDBUS_STORE: a database's name has at most {MAX_DATABASE_NAME} bytes and none of"
            f' / \\ . " $ * < > : | ? and no space: {name[:80]!r}'
        )


def _options(url: str) -> dict[str, str]:
    query = urlsplit(url).query
    return {name.lower(): value for name, value in parse_qsl(query, keep_blank_values=True)}


def _tls_is_off(url: str) -> bool:
    return any(_options(url).get(name) == "false" for name in ("tls", "ssl"))
