"""Canary and shadow: versions tried on a part of the requests, or beside all of them. Pure.

The alias `canary` of a model names a version that answers FEDBUS_CANARY_PERCENT of the requests
without a version choice. If it fails more often than the version beside it, it stops answering. The
alias `shadow` names one that computes the same requests after their answers, to be compared.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np

from fedbus.core.actions import Deliver
from fedbus.errors import WireError
from fedbus_inference.encoding import Encoding, unpack
from fedbus_inference.local_requests import PredictionOutcome
from fedbus_inference.prediction import Answer, PredictionRequest, Request

CANARY: Final = "canary"
SHADOW: Final = "shadow"
RELATIVE_TOLERANCE: Final = 1e-3
ABSOLUTE_TOLERANCE: Final = 1e-5
"""Outputs without classes or labels agree up to these."""


@dataclass(slots=True)
class Tally:
    """Requests that a version has answered, and those at which it failed."""

    answered: int = 0
    failed: int = 0

    @property
    def requests(self) -> int:
        """Return the number of requests."""
        return self.answered + self.failed

    @property
    def error_rate(self) -> float:
        """Return the part of the requests that failed; 0 without any."""
        return self.failed / self.requests if self.requests else 0.0

    def since(self, earlier: "Tally") -> "Tally":
        """Return what was added to an earlier tally."""
        return Tally(self.answered - earlier.answered, self.failed - earlier.failed)


def is_canary_request(request: Request, percent: float, number: int) -> bool:
    """Return whether the canary answers a request: the same for each repetition of it.

    `number` decides for requests without correlation data.
    """
    token = b"%d" % number
    if isinstance(request, PredictionRequest) and request.reply.correlation is not None:
        token = request.reply.topic.encode() + b"/" + request.reply.correlation
    drawn = int.from_bytes(blake2b(token, digest_size=8).digest()) % 10_000
    return drawn < percent * 100


def is_worse(canary: Tally, stable: Tally, min_requests: int, bound_percent: float) -> bool:
    """Return whether a canary's error rate exceeds the stable version's by more than the bound."""
    if canary.requests < min_requests:
        return False
    return canary.error_rate > stable.error_rate + bound_percent / 100


@dataclass(frozen=True, slots=True)
class ShadowComparison:
    """The answer that a client got, to be compared with a shadow's; stands for its client."""

    answer: Answer

    def __call__(self, outcome: PredictionOutcome) -> None:
        """Take the shadow's answer, which the model's server compares itself."""

    def agrees(self, outcome: PredictionOutcome) -> bool:
        """Return whether the shadow's answer names the same classes, labels or numbers."""
        mine = _fields(self.answer)
        for name in ("classes", "labels"):
            if name in mine or name in outcome.derived:
                return _same(mine.get(name), outcome.derived.get(name))
        outputs = mine.get("outputs")
        if isinstance(outputs, dict) and "data" not in outputs:
            names = outputs.keys() == outcome.outputs.keys()
            return names and all(_same(outputs[n], each) for n, each in outcome.outputs.items())
        (only,) = outcome.outputs.values()
        return _same(outputs, only)


def _fields(answer: Answer) -> dict[str, object]:
    if isinstance(answer, Deliver):
        outcome: PredictionOutcome = answer.result
        outputs = dict(outcome.outputs)
        single = outputs["outputs"] if outputs.keys() == {"outputs"} else outputs
        return {"outputs": single, **outcome.derived}
    try:
        fields = unpack(Encoding(answer.content_type or Encoding.JSON), answer.payload)
    except WireError:  # a NaN is null in JSON, which is read; so this is not expected
        return {}
    return fields if isinstance(fields, dict) else {}


def _same(mine: object, other: object) -> bool:
    match mine:
        case {"dtype": str(dtype), "shape": list(shape), "data": bytes(data)}:
            mine = np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(shape)
        case _:
            pass
    if mine is None or other is None:
        return mine is other
    left, right = np.asarray(mine), np.asarray(other)
    if left.shape != right.shape:
        return False
    if left.dtype.kind in "biuf" and right.dtype.kind in "biuf":
        return bool(
            np.allclose(left, right, RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE, equal_nan=True)
        )
    return bool((left == right).all())
