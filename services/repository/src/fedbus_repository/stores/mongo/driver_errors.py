"""Errors of the MongoDB driver as errors of the store: what failed, and how to correct it.

No message has the password: the driver puts none into its errors, and the store keeps it out of the
URL. Codes are those of MongoDB's server (its file `error_codes.yml`).
"""

import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bson.errors import BSONError
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidURI,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
    WriteConcernError,
    WTimeoutError,
)

from fedbus.errors import (
    SettingsError,
    StoreError,
    StoreFullError,
    StoreUnreachableError,
    StoreUnusableError,
)
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings

LOGIN_CODES: Final = frozenset({11, 18, 334, 391})
"""UserNotFound, AuthenticationFailed, MechanismUnavailable, ReauthenticationRequired."""
RIGHTS_CODES: Final = frozenset({13})
"""Unauthorized."""
FULL_CODES: Final = frozenset({14031, 12501, 1001})
"""OutOfDiskSpace, and two of older versions and hosted databases for a quota."""
TIME_CODES: Final = frozenset({50, 89, 202, 262})
"""MaxTimeMSExpired, NetworkTimeout, NetworkInterfaceExceededTimeLimit, ExceededTimeLimit."""
DUPLICATE_CODES: Final = frozenset({11000, 11001, 12582})
MAX_REASON: Final = 300
"""Characters of a driver's sentence that a message repeats."""

DRIVER_ERRORS: Final = (PyMongoError, BSONError, OSError, OverflowError)
"""What a call of the driver raises; `TimeoutError` is an OSError."""


class DuplicateRecordError(StoreError):
    """A document with the same unique key exists."""


class DatabaseUnreachableError(StoreUnreachableError):
    """No server of the database accepts the operation."""


class DatabaseTimeoutError(StoreUnreachableError):
    """The operation was not answered in time; a write may have been stored."""


class DatabaseLoginError(StoreUnusableError):
    """The server refused the user's name or password."""


class DatabaseRightsError(StoreUnusableError):
    """The user may not do this in this database."""


class DatabaseCertificateError(StoreUnusableError):
    """The server's certificate could not be verified, or there is no TLS on one side."""


class DatabaseFullError(StoreFullError):
    """The server has no space left."""


def store_error(
    operation: str, error: BaseException, settings: MongoSettings, seconds: float
) -> StoreError:
    """Return the store's error for a driver's.

    Args:
        operation: What was being done, the beginning of the message.
        error: What the driver raised.
        settings: Those of the connection, for the advice.
        seconds: The operation's deadline.
    """
    kind = _kind(error)
    if kind is DuplicateRecordError:
        return kind(f"{operation}: a record with this key exists already")
    sentence = _SENTENCES.get(kind, ": {reason}").format(
        reason=_tls_reason(error) or _reason(error),
        user=_user(settings),
        database=settings.database_name,
        seconds=f"{seconds:g}",
        ca="name the CA that signed the server's certificate in FEDBUS_STORE_CA_FILE"
        if settings.ca_file is None
        else f"{settings.ca_file} must be the CA that signed the server's certificate",
    )
    return kind(f"{operation}: MongoDB at {settings.address}{sentence}")


def settings_error(error: ConfigurationError | InvalidURI | ValueError) -> SettingsError:
    """Return the error for a URL or an option that the driver refuses."""
    return SettingsError(f"FEDBUS_STORE: {_reason(error)}")


def _kind(error: BaseException) -> type[StoreError]:
    codes = set(_codes(error))
    for kind, its_codes in _KINDS.items():
        if codes & its_codes:
            return kind
    if _tls_reason(error) is not None:
        return DatabaseCertificateError
    if isinstance(error, _TIMEOUTS):
        return DatabaseTimeoutError
    if isinstance(error, ConnectionFailure | OSError):
        return DatabaseUnreachableError
    return StoreError


_KINDS: Final[Mapping[type[StoreError], frozenset[int]]] = {
    DuplicateRecordError: DUPLICATE_CODES,
    DatabaseFullError: FULL_CODES,
    DatabaseLoginError: LOGIN_CODES,
    DatabaseRightsError: RIGHTS_CODES,
    DatabaseTimeoutError: TIME_CODES,
}
_SENTENCES: Final[Mapping[type[StoreError], str]] = {
    DatabaseFullError: (
        " has no space left: free or add disk space there; the store continues by itself"
    ),
    DatabaseLoginError: (
        " refused the login of {user}: compare the user in FEDBUS_STORE, the password in"
        " FEDBUS_STORE_PASSWORD_FILE and authSource with the server's users"
    ),
    DatabaseRightsError: (
        " does not allow this to {user}: grant the role readWrite on the database {database}"
    ),
    DatabaseTimeoutError: (
        " did not answer within {seconds} s; a write may have been stored. Look at the server's"
        " load and disk; the store continues by itself"
    ),
    DatabaseUnreachableError: (
        " cannot be reached: {reason}. Start it or correct FEDBUS_STORE; the store continues by"
        " itself"
    ),
    DatabaseCertificateError: (
        ": TLS failed: {reason}. To correct it, {ca}, write the host name that the certificate has,"
        " and use TLS on both sides"
    ),
}
_TIMEOUTS: Final = (
    NetworkTimeout,
    ExecutionTimeout,
    WTimeoutError,
    WaitQueueTimeoutError,
    TimeoutError,
)


def _user(settings: MongoSettings) -> str:
    return "a client without a user" if settings.user is None else f"user {settings.user!r}"


def _codes(error: BaseException) -> Iterator[int]:
    """Yield MongoDB's codes in an error, those of its causes and of single writes included."""
    for each in _with_causes(error):
        if isinstance(each, OperationFailure):
            if each.code is not None:
                yield each.code
            if isinstance(each, BulkWriteError | WriteConcernError):
                yield from _codes_in(each.details or {})


def _codes_in(details: Mapping[str, Any]) -> Iterator[int]:
    entries = [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]
    if "writeConcernError" in details:
        entries.append(details["writeConcernError"])
    for entry in entries:
        if isinstance(entry, Mapping) and isinstance(code := entry.get("code"), int):
            yield code


def _tls_reason(error: BaseException) -> str | None:
    for each in _with_causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return each.verify_message
        if isinstance(each, ssl.SSLError | ssl.CertificateError):
            return str(each.args[-1])[:MAX_REASON]
    text = str(error)
    # While no server can be used, the driver keeps the sentences of its attempts only.
    if "SSL handshake failed" in text or "CERTIFICATE_VERIFY_FAILED" in text:
        return _reason(error)
    return None


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _reason(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    for end in (", Timeout:", ", full error:", " (configured timeouts:"):
        text = text.partition(end)[0]
    return text[:MAX_REASON]
