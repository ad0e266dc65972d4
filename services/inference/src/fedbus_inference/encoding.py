"""Encodings of requests and answers, chosen by content type. Pure."""

from enum import StrEnum
from typing import Any, Final, cast

import msgpack
from pydantic_core import to_json

from fedbus.errors import WireError
from fedbus.wire.json_reader import read_json


class Encoding(StrEnum):
    """Encoding of a payload; its value is the content type of answers."""

    JSON = "application/json"
    MSGPACK = "application/msgpack"


_BY_TYPE: Final = {
    "": Encoding.JSON,  # mosquitto_pub and similar clients send none
    "application/json": Encoding.JSON,
    "application/msgpack": Encoding.MSGPACK,
    "application/x-msgpack": Encoding.MSGPACK,
    "application/vnd.msgpack": Encoding.MSGPACK,
}


def encoding_of(content_type: str | None) -> Encoding:
    """Return the encoding of a content type, JSON if there is none; raise WireError for others."""
    found = _BY_TYPE.get((content_type or "").partition(";")[0].strip().lower())
    if found is None:
        raise WireError(
            f"content type: expected {Encoding.JSON} or {Encoding.MSGPACK}, or none for JSON; "
            f"got {(content_type or '')[:60]!r}"
        )
    return found


def unpack(encoding: Encoding, payload: bytes) -> object:
    """Decode a payload; raise WireError if it is not valid in this encoding.

    The size and the depth of the value are bounded by the payload's length.
    """
    if encoding is Encoding.JSON:
        try:
            return read_json(payload)
        except WireError as error:
            packed = payload[:1] not in {b"{", b"["}
            hint = f"; msgpack needs the content type {Encoding.MSGPACK}" if packed else ""
            raise WireError(f"the payload: {error}{hint}") from error
    try:
        return cast("object", msgpack.unpackb(payload, timestamp=0))
    except (ValueError, msgpack.UnpackException, OverflowError) as error:
        detail = str(error) or type(error).__name__
        raise WireError(
            f"the payload: expected msgpack, as its content type states: {detail}"
        ) from error


def pack(encoding: Encoding, answer: dict[str, Any]) -> bytes:
    """Encode an answer; NaN and infinity become null in JSON, which has neither."""
    if encoding is Encoding.JSON:
        return to_json(answer, inf_nan_mode="null")
    return cast("bytes", msgpack.packb(answer))
