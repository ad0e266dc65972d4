"""Predictions for the queued requests of one model. Called in a thread. Pure.

Queued requests are predicted as one batch. If that fails, each is predicted alone, so that no
request is refused because of another one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

import numpy as np

from fedbus.core.actions import Reply
from fedbus.core.events import ReplyTo
from fedbus.errors import TrainingError, WireError
from fedbus.frameworks.outputs import OutputActivation, derived_outputs, to_probabilities
from fedbus.limits import MAX_MESSAGE_BYTES
from fedbus.model.layout import DTYPES, Array
from fedbus.wire.output_kinds import OutputKind
from fedbus_inference.arrays import parse_inputs, to_raw
from fedbus_inference.encoding import Encoding, pack, unpack
from fedbus_inference.input_spec import InputSpec

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
        more = derived_outputs(outputs, self.output_kind, self.output_activation, self.classes)
        return answer | {k: write(v) if isinstance(v, np.ndarray) else v for k, v in more.items()}


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

    replies: list[Reply]
    refused: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class _ParsedRequest:
    request: PredictionRequest
    inputs: Array
    as_raw: bool


def error_reply(reply: ReplyTo, encoding: Encoding, model: str, sentence: str) -> Reply:
    """Build the reply to a request that is refused."""
    return Reply(reply, pack(encoding, {"error": sentence, "model": model}), encoding)


def answer_requests(
    served: ServedVersion, requests: Sequence[PredictionRequest], max_elements: int
) -> BatchResult:
    """Answer or refuse each request, of at most `max_elements` numbers."""
    parsed: list[_ParsedRequest] = []
    refusals: list[Reply] = []
    for request in requests:
        try:
            parsed.append(_parse(request, served.input_spec, max_elements))
        except WireError as error:
            refusals.append(_refuse(served, request, str(error)))
    batch = _predict_batch(served, parsed, max_elements) if len(parsed) > 1 else None
    result = batch or _predict_each(served, parsed)
    replies = [*refusals, *result.replies]
    return BatchResult(replies, len(refusals) + result.refused, result.failure)


def _parse(request: PredictionRequest, input_spec: InputSpec, max_elements: int) -> _ParsedRequest:
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
    replies: list[Reply] = []
    refused, failure = 0, ""
    for one in parsed:
        try:
            reply, is_refusal = _build_reply(served, one, served.outputs(one.inputs))
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; callers get the message
            failure = f"{type(error).__name__}: {error}"
            sentence = f"version {served.version} could not answer: {failure}"
            reply, is_refusal = _refuse(served, one.request, sentence), True
        replies.append(reply)
        refused += is_refusal
    return BatchResult(replies, refused, failure)


def _build_reply(
    served: ServedVersion, one: _ParsedRequest, outputs: Outputs
) -> tuple[Reply, bool]:
    """Return the reply, and whether it is a refusal because the answer is too large."""
    request = one.request
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
        return _refuse(served, request, sentence), True
    return Reply(reply, payload, request.encoding), False


def _refuse(served: ServedVersion, request: PredictionRequest, sentence: str) -> Reply:
    return error_reply(request.reply, request.encoding, served.model, sentence)
