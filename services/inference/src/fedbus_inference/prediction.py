"""What happens in a worker thread to the requests of one model: read, predict, write. Pure.

Requests that waited together are predicted together, as one batch. Where that fails, each is tried
alone, so nobody is refused for what somebody else asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fedbus.actions import Reply, ReplyTo
from fedbus.errors import TrainingError, WireError
from fedbus.layout import DTYPES, Array
from fedbus.wire.codec import MAX_MESSAGE
from fedbus_inference.arrays import Spec, nested, raw, read
from fedbus_inference.encoding import Encoding, pack, unpack

_PROPERTIES = 1024
"""Bytes left for the packet's own header and properties, beside its topic and correlation data."""


class Predictor(Protocol):
    """A model with its weights; used by one thread at a time."""

    def predict(self, inputs: Array) -> Array:
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
    """One version of a model, ready to answer."""

    model: str
    version: int
    spec: Spec
    predictor: Predictor

    def outputs(self, inputs: Array) -> Array:
        """Answer each row of (rows, …).

        Raises:
            TrainingError: the model answered something else than one output for each row.
        """
        outputs = np.asarray(self.predictor.predict(inputs))
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
            asked.append(_read(request, served.spec, most))
        except WireError as error:
            refusals.append(_refused(served, request, str(error)))
    together = _together(served, asked, most) if len(asked) > 1 else None
    answers = together or _each(served, asked)
    replies = [*refusals, *answers.replies]
    return Answers(replies, len(refusals) + answers.refused, answers.failure)


def _read(request: Request, spec: Spec, most: int) -> _Asked:
    if len(request.payload) > MAX_MESSAGE:
        raise WireError(f"a request of {len(request.payload)} bytes, at most {MAX_MESSAGE}")
    match unpack(request.encoding, request.payload):
        case {"inputs": inputs}:
            return _Asked(request, read(inputs, spec, most), isinstance(inputs, dict))
        case _:
            raise WireError(f'a request is a map with "inputs"; this model takes {spec.wanted}')


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
        for one, part in zip(asked, np.split(outputs, ends[:-1]), strict=True)
    ]
    return Answers([reply for reply, _ in written], sum(refused for _, refused in written))


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


def _written(served: Served, one: _Asked, outputs: Array) -> tuple[Reply, bool]:
    request = one.request
    written = raw(outputs) if one.raw else nested(outputs)
    facts = {"model": served.model, "version": served.version, "outputs": written}
    payload = pack(request.encoding, facts)
    # A broker ends the connection of whoever publishes more than it takes.
    reply = request.reply
    room = MAX_MESSAGE - _PROPERTIES - len(reply.topic.encode()) - len(reply.correlation or b"")
    if len(payload) > room:
        sentence = (
            f"the answer takes {len(payload)} bytes, at most {room}; send fewer than "
            f"{len(outputs)} examples at once"
        )
        return _refused(served, request, sentence), True
    return Reply(reply, payload, request.encoding), False


def _refused(served: Served, request: Request, sentence: str) -> Reply:
    return refusal(request.reply, request.encoding, served.model, sentence)
