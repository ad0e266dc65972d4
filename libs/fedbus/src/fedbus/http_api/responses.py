"""Responses of HTTP APIs: JSON, errors as sentences, and which error gets which status."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from fedbus.errors import FedbusError, RequestRefusalKind, StoreError
from fedbus.http_api.endpoints import Problem
from fedbus.wire import codec
from fedbus.wire.documents import JobFault
from fedbus.wire.job_faults import JobFileError

REFUSAL_STATUSES: Final[Mapping[RequestRefusalKind, int]] = {
    "invalid": 400,
    "unknown": 404,
    "conflict": 409,
    "full": 507,
    "unreachable": 503,
    "unusable": 503,
    "damaged": 500,
    "other": 500,
}
"""The status of each kind of refusal, and of each fault of a store."""
RETRY_STORE_SECONDS: Final = 10
"""What `Retry-After` says where the store does not answer now."""


class ApiError(Exception):
    """Refusal of a request: a status, a message and headers."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def json_response(message: Any, status: int = 200) -> web.Response:  # noqa: ANN401 - any schema
    """Return a response with a schema's object as JSON."""
    return web.Response(body=codec.to_json(message), status=status, content_type="application/json")


def error_response(error: ApiError, faults: tuple[JobFault, ...] = ()) -> web.Response:
    """Return a response that describes an error."""
    response = json_response(Problem(error=str(error), faults=faults), error.status)
    response.headers.update(error.headers)
    if error.headers.get("Connection") == "close":
        response.force_close()
    return response


def refusal_of(kind: RequestRefusalKind, reason: str) -> ApiError:
    """Return the refusal of a request: what is wrong with it, or with the store that it needs."""
    if kind == "unreachable":
        return ApiError(REFUSAL_STATUSES[kind], reason, Retry_After=str(RETRY_STORE_SECONDS))
    return ApiError(REFUSAL_STATUSES[kind], reason)


def response_of(error: Exception) -> web.Response:
    """Return the response to an error of a handler: 400 for bad input, or see REFUSAL_STATUSES.

    Raises:
        Exception: The error itself, if it is none that a handler is expected to raise.
    """
    match error:
        case ApiError():
            return error_response(error)
        case JobFileError():
            return error_response(ApiError(400, str(error)), error.faults)
        case StoreError():
            return error_response(refusal_of(error.fault, str(error)))
        case FedbusError():
            return error_response(ApiError(400, str(error)))
    raise error
