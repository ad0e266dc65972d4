"""Predictions for the queued requests of one model. Called in a thread. Pure.

Queued requests are predicted as one batch. If that fails, each is predicted alone, so that no
request is refused because of another one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

import numpy as np

from fedbus.core.actions import Deliver, Reply
from fedbus.core.events import ReplyTo
from fedbus.errors import TrainingError, WireError
from fedbus.frameworks.outputs import OutputActivation, derived_outputs, to_probabilities
from fedbus.limits import MAX_MESSAGE_BYTES
from fedbus.model.layout import DTYPES, Array
from fedbus.text import listed
from fedbus.wire.output_kinds import OutputKind
from fedbus_inference.arrays import check_array, parse_inputs, to_raw
from fedbus_inference.encoding import Encoding, pack, unpack
from fedbus_inference.input_spec import InputSpec
from fedbus_inference.local_requests import LocalPrediction, PredictionOutcome, RefusalKind

_PACKET_OVERHEAD_BYTES = 1024
"""Reserved for a packet's header and properties, beside its topic and correlation data."""

Outputs: TypeAlias = Array | Mapping[str, Array]
"""A model's outputs: one array, or several by their names in the framework."""


class Predictor(Protocol):
    """A model with its weights; used by one thread at a time.

    It may have an attribute `output_activation`, a `fedbus.frameworks.outputs.OutputActivation`.
    """

    def predict(self, inputs: Array) -> Outputs:
        """Return one output for each row."""
        ...


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """A foreign client's request, its payload not yet parsed."""

    payload: bytes
    encoding: Encoding
    reply: ReplyTo

    @property
    def size(self) -> int:
        """Return the bytes that this request holds while it waits."""
        return len(self.payload)


Request: TypeAlias = PredictionRequest | LocalPrediction
Answer: TypeAlias = Reply | Deliver


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """One version of a model, ready to answer.

    Attributes:
        output_kind: What the outputs mean, where the model spec states it.
        classes: Names of the classes or labels; () means numbers.
        spec_digest: Digest of the model spec.
        weights_bytes: Size of the weights.
    """

    model: str
    version: int
    input_spec: InputSpec
    predictor: Predictor
    output_kind: OutputKind | None = None
    classes: tuple[str, ...] = ()
    spec_digest: str = ""
    weights_bytes: int = 0

    @property
    def output_activation(self) -> OutputActivation | None:
        """Return the model's last operation; None if the predictor does not state it."""
        return cast("OutputActivation | None", getattr(self.predictor, "output_activation", None))

    def outputs(self, inputs: Array) -> Outputs:
        """Return outputs for inputs of (rows, …); raise TrainingError if not one for each row."""
        found = self.predictor.predict(inputs)
        if isinstance(found, Mapping):
            return {name: _check_outputs(np.asarray(each), inputs) for name, each in found.items()}
        return to_probabilities(
            _check_outputs(np.asarray(found), inputs), self.output_kind, self.output_activation
        )

    def to_answer(self, outputs: Outputs, *, as_raw: bool) -> dict[str, Any]:
        """Return the fields of an answer, with arrays raw or as nested lists."""
        write: Callable[[Array], Any] = to_raw if as_raw else np.ndarray.tolist
        answer: dict[str, Any] = {"model": self.model, "version": self.version}
        if isinstance(outputs, Mapping):
            return answer | {"outputs": {name: write(each) for name, each in outputs.items()}}
        answer["outputs"] = write(outputs)
        if self.output_kind is not None:
            answer["answers"] = self.output_kind
        more = self._derive(outputs)
        return answer | {k: write(v) if isinstance(v, np.ndarray) else v for k, v in more.items()}

    def to_outcome(self, outputs: Outputs, wanted: Sequence[str] = ()) -> PredictionOutcome:
        """Return the answer to a local request; raise WireError if it wants an unknown output."""
        single = not isinstance(outputs, Mapping)
        named = {"outputs": outputs} if not isinstance(outputs, Mapping) else outputs
        if unknown := [name for name in wanted if name not in named]:
            raise WireError(
                f"outputs: this model has no {unknown[0][:64]!a}; it has {listed(named)}"
            )
        return PredictionOutcome(
            self.model,
            self.version,
            {name: named[name] for name in wanted or named},
            self.output_kind if single else None,
            self._derive(outputs) if not isinstance(outputs, Mapping) else {},
        )

    def _derive(self, outputs: Array) -> dict[str, Any]:
        return derived_outputs(outputs, self.output_kind, self.output_activation, self.classes)


def _check_outputs(outputs: Array, inputs: Array) -> Array:
    if outputs.dtype.name not in DTYPES or outputs.shape[:1] != inputs.shape[:1]:
        raise TrainingError(
            f"the model: expected one output for each of {len(inputs)} examples, "
            f"got {outputs.dtype} of shape {outputs.shape}"
        )
    return outputs


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The replies to some requests; `failure` is an error of the model, for the log."""

    replies: list[Answer]
    refused: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class _ParsedRequest:
    request: Request
    inputs: Array
    as_raw: bool


def error_reply(reply: ReplyTo, encoding: Encoding, model: str, sentence: str) -> Reply:
    """Build the reply to a request that is refused."""
    return Reply(reply, pack(encoding, {"error": sentence, "model": model}), encoding)


def refuse_request(
    request: Request, model: str, kind: RefusalKind, sentence: str, retry_after: float = 0.0
) -> Answer:
    """Build the refusal of a request, in the form that its client reads."""
    if isinstance(request, PredictionRequest):
        return error_reply(request.reply, request.encoding, model, sentence)
    outcome = PredictionOutcome(model, error=sentence, refusal=kind, retry_after=retry_after)
    return Deliver(request.deliver, outcome)


def answer_requests(
    served: ServedVersion, requests: Sequence[Request], max_elements: int
) -> BatchResult:
    """Answer or refuse each request, of at most `max_elements` numbers."""
    parsed: list[_ParsedRequest] = []
    refusals: list[Answer] = []
    for request in requests:
        try:
            parsed.append(_parse(request, served.input_spec, max_elements))
        except WireError as error:
            refusals.append(_refuse(served, request, str(error), RefusalKind.INVALID))
    batch = _predict_batch(served, parsed, max_elements) if len(parsed) > 1 else None
    result = batch or _predict_each(served, parsed)
    replies = [*refusals, *result.replies]
    return BatchResult(replies, len(refusals) + result.refused, result.failure)


def _parse(request: Request, input_spec: InputSpec, max_elements: int) -> _ParsedRequest:
    if isinstance(request, LocalPrediction) and request.inputs is not None:
        if len(request.inputs) != 1:
            raise WireError(f"inputs: expected one array, got {len(request.inputs)}")
        (array,) = request.inputs.values()
        array = check_array(array, input_spec, max_elements)
        return _ParsedRequest(request, array, as_raw=True)
    if len(request.payload) > MAX_MESSAGE_BYTES:
        raise WireError(
            f"expected a request of at most {MAX_MESSAGE_BYTES} bytes, got {len(request.payload)}"
        )
    match unpack(request.encoding, request.payload) if request.payload else None:
        case {"inputs": inputs}:
            array = parse_inputs(inputs, input_spec, max_elements)
            return _ParsedRequest(request, array, as_raw=isinstance(inputs, dict))
    got = "another value" if request.payload else "an empty request"
    raise WireError(
        f'expected a map with "inputs", got {got}; this model takes {input_spec.expected}'
    )


def _predict_batch(
    served: ServedVersion, parsed: list[_ParsedRequest], max_elements: int
) -> BatchResult | None:
    inputs = [one.inputs for one in parsed]
    alike = len({(array.shape[1:], array.dtype.str) for array in inputs}) == 1
    if not alike or sum(array.size for array in inputs) > max_elements:
        return None
    try:
        outputs = served.outputs(np.concatenate(inputs))
    except Exception:  # noqa: BLE001 - a plug-in may raise anything; _predict_each reports it
        return None
    ends = np.cumsum([len(array) for array in inputs])
    replies = [
        _build_reply(served, one, part)
        for one, part in zip(parsed, _split(outputs, ends[:-1]), strict=True)
    ]
    return BatchResult([reply for reply, _ in replies], sum(refused for _, refused in replies))


def _split(outputs: Outputs, ends: Array) -> Iterator[Outputs]:
    if not isinstance(outputs, Mapping):
        yield from np.split(outputs, ends)
        return
    parts = {name: np.split(each, ends) for name, each in outputs.items()}
    for number in range(len(ends) + 1):
        yield {name: part[number] for name, part in parts.items()}


def _predict_each(served: ServedVersion, parsed: list[_ParsedRequest]) -> BatchResult:
    replies: list[Answer] = []
    refused, failure = 0, ""
    for one in parsed:
        try:
            reply, is_refusal = _build_reply(served, one, served.outputs(one.inputs))
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; callers get the message
            failure = f"{type(error).__name__}: {error}"
            sentence = f"version {served.version} could not answer: {failure}"
            reply, is_refusal = _refuse(served, one.request, sentence, RefusalKind.FAILED), True
        replies.append(reply)
        refused += is_refusal
    return BatchResult(replies, refused, failure)


def _build_reply(
    served: ServedVersion, one: _ParsedRequest, outputs: Outputs
) -> tuple[Answer, bool]:
    """Return the reply, and whether it is a refusal, as of an answer that is too large."""
    request = one.request
    if isinstance(request, LocalPrediction):
        try:
            outcome = served.to_outcome(outputs, request.outputs)
        except WireError as error:
            return _refuse(served, request, str(error), RefusalKind.INVALID), True
        return Deliver(request.deliver, outcome), False
    payload = pack(request.encoding, served.to_answer(outputs, as_raw=one.as_raw))
    # A broker disconnects a client that publishes a larger packet than it accepts.
    reply = request.reply
    overhead = _PACKET_OVERHEAD_BYTES + len(reply.topic.encode()) + len(reply.correlation or b"")
    limit = MAX_MESSAGE_BYTES - overhead
    if len(payload) > limit:
        sentence = (
            f"expected an answer of at most {limit} bytes, got {len(payload)}; send fewer than "
            f"{len(one.inputs)} examples at once"
        )
        return _refuse(served, request, sentence, RefusalKind.INVALID), True
    return Reply(reply, payload, request.encoding), False


def _refuse(served: ServedVersion, request: Request, sentence: str, kind: RefusalKind) -> Answer:
    return refuse_request(request, served.model, kind, sentence)
