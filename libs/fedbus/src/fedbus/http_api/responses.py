"""Responses of HTTP APIs: JSON, errors as sentences, and which error gets which status."""

from typing import Any

from aiohttp import web

from fedbus.errors import FedbusError, StoreError
from fedbus.http_api.endpoints import Problem
from fedbus.wire import codec
from fedbus.wire.documents import JobFault
from fedbus.wire.job_faults import JobFileError


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


def response_of(error: Exception) -> web.Response:
    """Return the response to an error of a handler: 400 for bad input, 507 for a full disk.

    Raises:
        Exception: The error itself, if it is none that a handler is expected to raise.
    """
    match error:
        case ApiError():
            return error_response(error)
        case JobFileError():
            return error_response(ApiError(400, str(error)), error.faults)
        case StoreError():
            return error_response(ApiError(507, str(error)))
        case FedbusError():
            return error_response(ApiError(400, str(error)))
    raise error
