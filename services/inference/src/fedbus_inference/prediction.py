"""What happens in a worker thread to the requests of one model: read, predict, write. Pure.

Requests that waited together are predicted together, as one batch. Where that fails, each is tried
alone, so nobody is refused for what somebody else asked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

import numpy as np

from fedbus.core.actions import Reply
from fedbus.core.events import ReplyTo
from fedbus.errors import TrainingError, WireError
from fedbus.frameworks.outputs import OutputActivation, derived_outputs, to_probabilities
from fedbus.limits import MAX_MESSAGE_BYTES
from fedbus.model.layout import DTYPES, Array
from fedbus.wire.output_kinds import OutputKind as Meaning
from fedbus_inference.arrays import InputSpec, nested, raw, read
from fedbus_inference.encoding import Encoding, pack, unpack

_PROPERTIES = 1024
"""Bytes left for the packet's own header and properties, beside its topic and correlation data."""


Outputs: TypeAlias = Array | Mapping[str, Array]
"""What a model answers: one array, or several by the names that its framework gives them."""


class Predictor(Protocol):
    """A model with its weights; used by one thread at a time.

    It may have an attribute `output_activation`, a `fedbus.frameworks.outputs.OutputActivation`:
    what its last operation is.
    """

    def predict(self, inputs: Array) -> Outputs:
        """Answer each row."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """What a foreign client asked, not yet read."""

    payload: bytes
    encoding: Encoding
    reply: ReplyTo


@dataclass(frozen=True, slots=True)
class Served:
    """One version of a model, ready to answer.

    Attributes:
        spec: The digest of its spec.
        weight: Bytes of its weights.
    """

    model: str
    version: int
    input_spec: InputSpec
    predictor: Predictor
    meaning: Meaning | None = None
    classes: tuple[str, ...] = ()
    spec: str = ""
    weight: int = 0

    @property
    def output_activation(self) -> OutputActivation | None:
        """What the model's last operation is, where the predictor knows it."""
        return cast("OutputActivation | None", getattr(self.predictor, "output_activation", None))

    def outputs(self, inputs: Array) -> Outputs:
        """Answer each row of (rows, …).

        Raises:
            TrainingError: the model answered something else than one output for each row.
        """
        found = self.predictor.predict(inputs)
        if isinstance(found, Mapping):
            return {name: _checked(np.asarray(each), inputs) for name, each in found.items()}
        return to_probabilities(
            _checked(np.asarray(found), inputs), self.meaning, self.output_activation
        )

    def facts(self, outputs: Outputs, *, as_raw: bool) -> dict[str, Any]:
        """Write outputs and what follows from them, raw or as nested lists."""
        write = raw if as_raw else nested
        facts: dict[str, Any] = {"model": self.model, "version": self.version}
        if isinstance(outputs, Mapping):
            return facts | {"outputs": {name: write(each) for name, each in outputs.items()}}
        facts["outputs"] = write(outputs)
        if self.meaning is not None:
            facts["answers"] = self.meaning
        more = derived_outputs(outputs, self.meaning, self.output_activation, self.classes)
        return facts | {k: write(v) if isinstance(v, np.ndarray) else v for k, v in more.items()}


def _checked(outputs: Array, inputs: Array) -> Array:
    if outputs.dtype.name not in DTYPES or outputs.shape[:1] != inputs.shape[:1]:
        found = f"{outputs.dtype} of shape {outputs.shape}"
        raise TrainingError(f"the model answered {len(inputs)} examples with {found}")
    return outputs


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of some requests; `failure` is the model's own fault, for the log."""

    replies: list[Reply]
    refused: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class _Asked:
    request: Request
    inputs: Array
    raw: bool


def refusal(reply: ReplyTo, encoding: Encoding, model: str, sentence: str) -> Reply:
    """Answer that there is no answer."""
    return Reply(reply, pack(encoding, {"error": sentence, "model": model}), encoding)


def answer(served: Served, requests: Sequence[Request], most: int) -> Answers:
    """Answer every request, or say in a sentence why not; `most` numbers each."""
    asked: list[_Asked] = []
    refusals: list[Reply] = []
    for request in requests:
        try:
            asked.append(_read(request, served.input_spec, most))
        except WireError as error:
            refusals.append(_refused(served, request, str(error)))
    together = _together(served, asked, most) if len(asked) > 1 else None
    answers = together or _each(served, asked)
    replies = [*refusals, *answers.replies]
    return Answers(replies, len(refusals) + answers.refused, answers.failure)


def _read(request: Request, input_spec: InputSpec, most: int) -> _Asked:
    if len(request.payload) > MAX_MESSAGE_BYTES:
        raise WireError(f"a request of {len(request.payload)} bytes, at most {MAX_MESSAGE_BYTES}")
    if not request.payload:
        raise WireError(
            'the request is empty; a request is a map with "inputs"; this model takes '
            + input_spec.wanted
        )
    match unpack(request.encoding, request.payload):
        case {"inputs": inputs}:
            return _Asked(request, read(inputs, input_spec, most), isinstance(inputs, dict))
        case _:
            raise WireError(
                f'a request is a map with "inputs"; this model takes {input_spec.wanted}'
            )


def _together(served: Served, asked: list[_Asked], most: int) -> Answers | None:
    inputs = [one.inputs for one in asked]
    alike = len({(array.shape[1:], array.dtype.str) for array in inputs}) == 1
    if not alike or sum(array.size for array in inputs) > most:
        return None
    try:
        outputs = served.outputs(np.concatenate(inputs))
    except Exception:  # noqa: BLE001 - a plug-in may raise anything; tried alone, it is named
        return None
    ends = np.cumsum([len(array) for array in inputs])
    written = [
        _written(served, one, part)
        for one, part in zip(asked, _split(outputs, ends[:-1]), strict=True)
    ]
    return Answers([reply for reply, _ in written], sum(refused for _, refused in written))


def _split(outputs: Outputs, ends: Array) -> Iterator[Outputs]:
    if not isinstance(outputs, Mapping):
        yield from np.split(outputs, ends)
        return
    parts = {name: np.split(each, ends) for name, each in outputs.items()}
    for number in range(len(ends) + 1):
        yield {name: part[number] for name, part in parts.items()}


def _each(served: Served, asked: list[_Asked]) -> Answers:
    replies: list[Reply] = []
    refused, failure = 0, ""
    for one in asked:
        try:
            reply, bad = _written(served, one, served.outputs(one.inputs))
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; callers get a sentence
            failure = f"{type(error).__name__}: {error}"
            sentence = f"version {served.version} could not answer: {failure}"
            reply, bad = _refused(served, one.request, sentence), True
        replies.append(reply)
        refused += bad
    return Answers(replies, refused, failure)


def _written(served: Served, one: _Asked, outputs: Outputs) -> tuple[Reply, bool]:
    request = one.request
    payload = pack(request.encoding, served.facts(outputs, as_raw=one.raw))
    # A broker ends the connection of whoever publishes more than it takes.
    reply = request.reply
    room = (
        MAX_MESSAGE_BYTES - _PROPERTIES - len(reply.topic.encode()) - len(reply.correlation or b"")
    )
    if len(payload) > room:
        sentence = (
            f"the answer takes {len(payload)} bytes, at most {room}; send fewer than "
            f"{len(one.inputs)} examples at once"
        )
        return _refused(served, request, sentence), True
    return Reply(reply, payload, request.encoding), False


def _refused(served: Served, request: Request, sentence: str) -> Reply:
    return refusal(request.reply, request.encoding, served.model, sentence)
