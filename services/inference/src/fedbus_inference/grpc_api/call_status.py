"""Status codes of refused calls, and deadlines of calls."""

from collections.abc import Mapping
from typing import Any, Final

import grpc

from fedbus_inference.local_requests import PredictionOutcome, RefusalKind, shortest_timeout

CODES: Final[Mapping[RefusalKind, grpc.StatusCode]] = {
    RefusalKind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    RefusalKind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    RefusalKind.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    RefusalKind.FAILED: grpc.StatusCode.INTERNAL,
    RefusalKind.LOADING: grpc.StatusCode.UNAVAILABLE,
    RefusalKind.STOPPING: grpc.StatusCode.UNAVAILABLE,
    RefusalKind.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class CallError(Exception):
    """End of a call, with a status code and a sentence."""

    def __init__(self, code: grpc.StatusCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def check_answered(outcome: PredictionOutcome) -> int:
    """Return the version that answered; raise CallError if there is no answer."""
    if outcome.refusal is not None or outcome.version is None:
        raise CallError(CODES[outcome.refusal or RefusalKind.FAILED], outcome.error)
    return outcome.version


def seconds_left(context: Any) -> float | None:  # noqa: ANN401 - grpc has no types
    """Return the seconds until the caller's deadline, 0 once it is over; None: there is none."""
    left: float | None = context.time_remaining()
    return shortest_timeout(left)
