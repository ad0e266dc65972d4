"""Refusals of the store as refusals of HTTP requests."""

from typing import TypeVar

from fedbus.http_api.responses import refusal_of
from fedbus_repository.stores.records import StoreRefusal

T = TypeVar("T")


def accepted(answer: T | StoreRefusal) -> T:
    """Return an answer of the store; raise ApiError with the status of its kind if it refuses."""
    if isinstance(answer, StoreRefusal):
        raise refusal_of(answer.kind, answer.reason)
    return answer
