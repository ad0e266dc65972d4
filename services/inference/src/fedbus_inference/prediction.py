"""Answers to the queued requests of one model. Called in a thread. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from fedbus.core.actions import Deliver, Reply
from fedbus.core.events import ReplyTo
from fedbus.errors import WireError
from fedbus.limits import MAX_MESSAGE_BYTES
from fedbus.text import listed, without_folders
from fedbus_inference.batch_prediction import (
    PredictedOutputs,
    PredictionFailure,
    PredictionResult,
    predict_batch,
)
from fedbus_inference.encoding import Encoding, pack, unpack
from fedbus_inference.inputs import Inputs, check_inputs, expected_inputs, is_raw, parse_inputs
from fedbus_inference.local_requests import LocalPrediction, PredictionOutcome, RefusalKind
from fedbus_inference.payload_version import refuse_version
from fedbus_inference.served_version import ServedVersion

MAX_ROWS = 2**20
_PACKET_OVERHEAD_BYTES = 1024
"""Reserved for a packet's header and properties, beside its topic and correlation data."""


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """A foreign client's request, its payload not yet parsed.

    `timeout` is the time in seconds that its client has stated, if any; `choice` says which version
    answers, as `LocalPrediction.choice`.
    """

    payload: bytes
    encoding: Encoding
    reply: ReplyTo
    timeout: float | None = None
    choice: str = ""

    @property
    def size(self) -> int:
        """Return the bytes that this request holds while it waits."""
        return len(self.payload)


Request: TypeAlias = PredictionRequest | LocalPrediction
Answer: TypeAlias = Reply | Deliver


@dataclass(frozen=True, slots=True)
class RequestResult:
    """The answer to one request; with `refusal` it is a refusal for this `error`."""

    answer: Answer
    refusal: RefusalKind | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """A result for each request, in order.

    Attributes:
        failure: An error of the model, for the log.
        seconds: How long the requests took together.
    """

    results: list[RequestResult]
    failure: str = ""
    seconds: float = 0.0

    @property
    def replies(self) -> list[Answer]:
        """Return the answers in the order of their requests."""
        return [result.answer for result in self.results]

    @property
    def refused(self) -> int:
        """Return the number of refusals."""
        return sum(result.refusal is not None for result in self.results)


@dataclass(frozen=True, slots=True)
class _ParsedRequest:
    request: Request
    inputs: Inputs
    as_raw: bool


def error_reply(  # noqa: PLR0913, PLR0917 - what an error consists of
    reply: ReplyTo,
    encoding: Encoding,
    model: str,
    sentence: str,
    kind: RefusalKind,
    retry_after: float = 0.0,
) -> Reply:
    """Build the reply to a request that is refused; `retry_after`: in seconds, 0 if not known."""
    shown = without_folders(sentence)
    stated: dict[str, Any] = {"error": shown, "model": model, "kind": kind.value}
    if retry_after:
        stated["retry_after_ms"] = max(round(retry_after * 1000), 1)
    return Reply(reply, pack(encoding, stated), encoding)


def refuse_request(
    request: Request, model: str, kind: RefusalKind, sentence: str, retry_after: float = 0.0
) -> Answer:
    """Build the refusal of a request, in the form that its client reads."""
    if isinstance(request, PredictionRequest):
        return error_reply(request.reply, request.encoding, model, sentence, kind, retry_after)
    shown = without_folders(sentence)
    outcome = PredictionOutcome(model, error=shown, refusal=kind, retry_after=retry_after)
    return Deliver(request.deliver, outcome)


def answer_requests(
    served: ServedVersion,
    requests: Sequence[Request],
    max_elements: int,
    max_rows: int = MAX_ROWS,
) -> BatchResult:
    """Answer or refuse each request, of at most `max_elements` numbers.

    At most `max_rows` examples of several requests are predicted at once.
    """
    parsed: list[_ParsedRequest | RequestResult] = []
    for request in requests:
        try:
            parsed.append(_parse(request, served, max_elements))
        except WireError as error:
            parsed.append(_refuse(served, request, str(error), RefusalKind.INVALID))
    accepted = [one.inputs for one in parsed if isinstance(one, _ParsedRequest)]
    predicted = (
        result
        for batch in _batches(accepted, max_rows)
        for result in predict_batch(served, batch, max_elements)
    )
    results, failure = [], ""
    for one in parsed:
        if isinstance(one, RequestResult):
            results.append(one)
            continue
        result = next(predicted)
        if isinstance(result, PredictionFailure):
            failure = result.reason or failure
        results.append(_build_reply(served, one, result))
    return BatchResult(results, failure)


def _batches(requests: Sequence[Inputs], max_rows: int) -> Iterator[Sequence[Inputs]]:
    first, rows = 0, 0
    for number, request in enumerate(requests):
        if rows and rows + request.rows > max_rows:
            yield requests[first:number]
            first, rows = number, 0
        rows += request.rows
    if rows:
        yield requests[first:]


def _parse(request: Request, served: ServedVersion, max_elements: int) -> _ParsedRequest:
    if isinstance(request, LocalPrediction) and request.inputs is not None:
        inputs = check_inputs(request.inputs, served.inputs, max_elements)
        return _ParsedRequest(request, inputs, as_raw=True)
    if len(request.payload) > MAX_MESSAGE_BYTES:
        raise WireError(
            f"expected a request of at most {MAX_MESSAGE_BYTES} bytes, got {len(request.payload)}"
        )
    match unpack(request.encoding, request.payload) if request.payload else None:
        case {"inputs": stated, **others}:
            refuse_version(others, served.model)
            inputs = parse_inputs(stated, served.inputs, max_elements)
            return _ParsedRequest(request, inputs, as_raw=is_raw(stated))
    got = "another value" if request.payload else "an empty request"
    raise WireError(
        f'expected a map with "inputs", got {got}; '
        f"this model takes {expected_inputs(served.inputs)}"
    )


def _build_reply(
    served: ServedVersion, one: _ParsedRequest, result: PredictionResult
) -> RequestResult:
    """Return the reply; it is a refusal after a failure, and if the answer is too large."""
    request = one.request
    if isinstance(result, PredictionFailure):
        kind = RefusalKind.FAILED if result.reason else RefusalKind.INVALID
        return _refuse(served, request, result.sentence, kind)
    if isinstance(request, LocalPrediction):
        try:
            outcome = to_outcome(result, request.outputs)
        except WireError as error:
            return _refuse(served, request, str(error), RefusalKind.INVALID)
        return RequestResult(Deliver(request.deliver, outcome))
    payload = pack(request.encoding, result.to_answer(as_raw=one.as_raw))
    # A broker disconnects a client that publishes a larger packet than it accepts.
    reply = request.reply
    overhead = _PACKET_OVERHEAD_BYTES + len(reply.topic.encode()) + len(reply.correlation or b"")
    limit = MAX_MESSAGE_BYTES - overhead
    if len(payload) > limit:
        sentence = (
            f"expected an answer of at most {limit} bytes, got {len(payload)}; send fewer than "
            f"{one.inputs.rows} examples at once"
        )
        return _refuse(served, request, sentence, RefusalKind.INVALID)
    return RequestResult(Reply(reply, payload, request.encoding))


def to_outcome(result: PredictedOutputs, wanted: Sequence[str] = ()) -> PredictionOutcome:
    """Return the answer to a local request; raise WireError if it wants an unknown output."""
    if unknown := [name for name in wanted if name not in result.outputs]:
        raise WireError(
            f"outputs: this model has no {unknown[0][:64]!a}; it has {listed(result.outputs)}"
        )
    return PredictionOutcome(
        result.model,
        result.version,
        {name: result.outputs[name] for name in wanted or result.outputs},
        result.output_kind,
        result.derived,
        result.warnings,
    )


def _refuse(
    served: ServedVersion, request: Request, sentence: str, kind: RefusalKind
) -> RequestResult:
    return RequestResult(refuse_request(request, served.model, kind, sentence), kind, sentence)
