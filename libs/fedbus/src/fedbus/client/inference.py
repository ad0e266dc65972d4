"""Requests to the inference service: arrays and JSON, encoded and decoded."""

import asyncio
import json
import random
from collections.abc import Mapping
from typing import Any, Final

import msgpack
import numpy as np
from numpy.typing import ArrayLike

from fedbus.client.connection import ClientConnection
from fedbus.client.failures import Failed, Refused
from fedbus.client.names import model_name
from fedbus.client.results import InferenceResult
from fedbus.core import clock
from fedbus.errors import SettingsError, WireError
from fedbus.model.layout import Array
from fedbus.wire.topics import INFERENCE
from fedbus.wire.version_choice import parse_version_choice

JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"
SERVICE: Final = "the inference service"
MAX_RETRIES: Final = 10
STOPPING_PAUSE_SECONDS: Final = 0.05


def encode(inputs: ArrayLike) -> bytes:
    """Encode a request of one array, rows first, as msgpack with raw bytes.

    Raises:
        SettingsError: the rows differ in length.
    """
    try:
        array = np.asarray(inputs)
    except ValueError as error:
        raise SettingsError(f"inputs: expected one array, rows first: {error}") from error
    packed: bytes = msgpack.packb({"inputs": raw(array)})
    return packed


def target_of(model: str) -> str:
    """Return the level of the request's topic for `MODEL`, `MODEL@3` or `MODEL@ALIAS`.

    `MODEL@latest` stays as it is: what a model's name alone means is for the service to say.

    Raises:
        SettingsError: it is none of these.
    """
    try:
        if "@" not in str(model):
            return model_name(model)
        parse_version_choice(model)
    except WireError as error:
        raise SettingsError(str(error)) from error
    return model


async def infer(connection: ClientConnection, model: str, inputs: ArrayLike) -> InferenceResult:
    """Ask the inference service what a model's newest version answers.

    Raises:
        Refused: it says why it has no answer.
        Unreachable: it does not answer.
    """
    answer = await request(connection, model, encode(inputs), MSGPACK)
    try:
        return prediction_of(answer)
    except (KeyError, TypeError, ValueError) as error:
        raise Failed(f"an answer that cannot be read: {error!r}") from error


async def request(
    connection: ClientConnection, model: str, payload: bytes, content_type: str
) -> dict[str, Any]:
    """Send a request that is encoded already.

    Returns:
        The answer with an array for each that was sent as raw bytes.

    Raises:
        Refused: the service says why it has no answer.
        Unreachable: it does not answer.
    """
    until = clock.monotonic() + connection.answer_seconds
    attempt = 0
    while True:
        packet = await connection.requests.send(
            connection.login.topic(INFERENCE, model=model),
            payload,
            of=SERVICE,
            content_type=content_type,
            times=connection.requests.times_of(model),
        )
        answer = decode(packet.payload, content_type)
        if "error" not in answer:
            return answer
        pause = pause_before_retry(answer, attempt)
        if pause is None or clock.monotonic() + pause > until:
            said = str(answer["error"])
            named = said if said.startswith(f"{model}:") else f"{model}: {said}"
            raise Refused(named, answer)
        await asyncio.sleep(pause * random.uniform(1.0, 1.5))
        attempt += 1


def pause_before_retry(refusal: Mapping[str, Any], attempt: int) -> float | None:
    """Return after how many seconds a refused request may succeed; None: it would not.

    A replica that stops says so, and another one answers; one with a full queue says how long that
    takes to answer.
    """
    if attempt >= MAX_RETRIES:
        return None
    match refusal:
        case {"kind": "stopping"}:
            return STOPPING_PAUSE_SECONDS
        case {"kind": "overloaded", "retry_after_ms": int(milliseconds)}:
            return max(milliseconds, 0) / 1000
        case _:
            return None


def decode(payload: bytes, content_type: str) -> dict[str, Any]:
    """Read an answer; raw bytes become arrays.

    Raises:
        Failed: it is no answer.
    """
    try:
        # The service answers every other content type in JSON.
        read = msgpack.unpackb if content_type == MSGPACK else json.loads
        answer: dict[str, Any] = read(payload)
        if "error" not in answer:
            answer = {name: _decoded(value) for name, value in answer.items()}
            answer["outputs"]
    except (KeyError, TypeError, ValueError) as error:
        raise Failed(f"an answer that cannot be read: {error!r}") from error
    return answer


def prediction_of(answer: Mapping[str, Any]) -> InferenceResult:
    """Return a decoded answer as arrays."""
    outputs, likely = answer["outputs"], answer.get("probabilities")
    return InferenceResult(
        model=str(answer["model"]),
        version=int(answer["version"]),
        outputs={name: np.asarray(each) for name, each in outputs.items()}
        if isinstance(outputs, dict)
        else np.asarray(outputs),
        answers=answer.get("answers"),
        probabilities=None if likely is None else np.asarray(likely),
        classes=tuple(answer.get("classes", ())),
        labels=tuple(answer.get("labels", ())),
    )


def raw(array: Array) -> dict[str, Any]:
    """Encode an array as a request carries it: little-endian bytes, row by row."""
    array = np.ascontiguousarray(array)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": little.tobytes()}


def array_of(raw: Mapping[str, Any]) -> Array:
    """Decode an array of an answer."""
    dtype = np.dtype(raw["dtype"]).newbyteorder("<")
    return np.frombuffer(raw["data"], dtype).reshape(raw["shape"])


def _decoded(value: object) -> Any:  # noqa: ANN401 - whatever an answer holds
    if not isinstance(value, dict):
        return value
    if "data" in value:
        return array_of(value)
    return {name: _decoded(each) for name, each in value.items()}
