"""Refusals of the store as refusals of HTTP requests: one status for each kind."""

from collections.abc import Mapping
from typing import Final, TypeVar

from fedbus.http_api.responses import ApiError
from fedbus_repository.stores.records import RefusalKind, StoreRefusal

T = TypeVar("T")
REFUSAL_STATUSES: Final[Mapping[RefusalKind, int]] = {
    "invalid": 400,
    "unknown": 404,
    "conflict": 409,
}


def accepted(answer: T | StoreRefusal) -> T:
    """Return an answer of the store; raise ApiError 400, 404 or 409 if it is a refusal."""
    if isinstance(answer, StoreRefusal):
        raise ApiError(REFUSAL_STATUSES[answer.kind], answer.reason)
    return answer
