"""Responses of HTTP APIs: JSON, errors as sentences, and which error gets which status."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from fedbus.errors import (
    FedbusError,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreUnreachableError,
    StoreUnusableError,
)
from fedbus.http_api.endpoints import Problem
from fedbus.wire import codec
from fedbus.wire.documents import JobFault
from fedbus.wire.job_faults import JobFileError

STORE_STATUSES: Final[Mapping[type[StoreError], int]] = {
    StoreFullError: 507,
    StoreUnreachableError: 503,
    StoreUnusableError: 503,
    StoreDamagedError: 500,
    StoreError: 500,
}
"""The status of each kind of StoreError; a class that is not here has that of its base class."""
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


def store_api_error(error: StoreError) -> ApiError:
    """Return the refusal of a request because of its store, with the error's own sentence."""
    status = next(STORE_STATUSES[kind] for kind in type(error).__mro__ if kind in STORE_STATUSES)
    if isinstance(error, StoreUnreachableError):
        return ApiError(status, str(error), Retry_After=str(RETRY_STORE_SECONDS))
    return ApiError(status, str(error))


def response_of(error: Exception) -> web.Response:
    """Return the response to an error of a handler: 400 for bad input, or see STORE_STATUSES.

    Raises:
        Exception: The error itself, if it is none that a handler is expected to raise.
    """
    match error:
        case ApiError():
            return error_response(error)
        case JobFileError():
            return error_response(ApiError(400, str(error)), error.faults)
        case StoreError():
            return error_response(store_api_error(error))
        case FedbusError():
            return error_response(ApiError(400, str(error)))
    raise error
