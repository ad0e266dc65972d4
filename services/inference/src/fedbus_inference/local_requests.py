"""Requests that come from this process itself, such as its HTTP and gRPC servers. Pure.

A server passes `LocalPrediction` to the core as a `Local` event; the core's answer is a `Deliver`
action, with which the shell calls `deliver` once, in the event loop, with a `PredictionOutcome`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from fedbus.model.layout import Array
from fedbus_inference.encoding import Encoding

LONGEST_TIMEOUT: Final = 300.0
"""Seconds for which a request over HTTP or gRPC may wait, whatever its client states."""


def shortest_timeout(*stated: float | None) -> float | None:
    """Return the shortest of the times in seconds that a client has stated; None: it has none.

    It is 0 to LONGEST_TIMEOUT; a request with 0 is refused, its client waits no more.
    """
    known = [each for each in stated if each is not None]
    return min(max(min(known), 0.0), LONGEST_TIMEOUT) if known else None


class RefusalKind(StrEnum):
    """Why a request has no answer, for a server that maps it to a status code.

    `OVERLOADED`, `LOADING` and `STOPPING` may succeed a moment later, here or at another replica.
    """

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    OVERLOADED = "overloaded"
    LOADING = "loading"
    DEADLINE = "deadline"
    FAILED = "failed"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class PredictionOutcome:
    """Answer to a `LocalPrediction`, or with `refusal` the reason why there is none.

    Attributes:
        version: The version that answered; None if there is no answer.
        outputs: Each output of the model by its name, one row for each row of the inputs; a
            single output has the name `outputs`.
        answers: What the outputs mean; None where the model spec does not state it.
        derived: What follows from the outputs, as in answers over the topic: `probabilities` (an
            array), `classes` or `labels` (a list with one entry for each row).
        warnings: Sentences about inputs that the model answers with reserve.
        error: A sentence that says what was wrong.
        retry_after: Seconds after which to ask again; 0: not known.
    """

    model: str
    version: int | None = None
    outputs: Mapping[str, Array] = field(default_factory=dict)
    answers: str | None = None
    derived: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: str = ""
    refusal: RefusalKind | None = None
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class LocalPrediction:
    """A request of this process's own servers: either named arrays, or a payload as on a topic.

    Attributes:
        deliver: Called once with the outcome, in the event loop; it must not block or raise.
        choice: Which version answers: empty for the default, `3` for a version, `production` for
            an alias.
        inputs: Arrays by the names that the model spec states, rows first; one example alone is
            accepted too. The array of a model with one input may have any name.
        payload: Used if `inputs` is None: a map with `inputs`, in this encoding.
        outputs: Names of the wanted outputs; empty for all.
        timeout: Seconds until the request is refused; None: as FEDBUS_REQUEST_TIMEOUT_SECONDS says.
    """

    model: str
    deliver: Callable[[PredictionOutcome], None]
    choice: str = ""
    inputs: Mapping[str, Array] | None = None
    payload: bytes = b""
    encoding: Encoding = Encoding.JSON
    outputs: tuple[str, ...] = ()
    timeout: float | None = None

    @property
    def size(self) -> int:
        """Return the bytes that this request holds while it waits."""
        if self.inputs is None:
            return len(self.payload)
        return sum(array.nbytes for array in self.inputs.values())
