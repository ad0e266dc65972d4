"""The two encodings of requests and answers, told apart by their content type alone. Pure."""

from enum import StrEnum
from typing import Any, Final, cast

import msgpack
from pydantic_core import to_json

from fedbus.errors import WireError
from fedbus.wire.json_reader import read_json


class Encoding(StrEnum):
    """How a payload is written; its value is the content type of our answers."""

    JSON = "application/json"
    MSGPACK = "application/msgpack"


_BY_TYPE: Final = {
    "": Encoding.JSON,  # mosquitto_pub and its like send none
    "application/json": Encoding.JSON,
    "application/msgpack": Encoding.MSGPACK,
    "application/x-msgpack": Encoding.MSGPACK,
    "application/vnd.msgpack": Encoding.MSGPACK,
}


def encoding_of(content_type: str | None) -> Encoding:
    """Read a content type; none means JSON.

    Raises:
        WireError: it is neither JSON nor msgpack.
    """
    found = _BY_TYPE.get((content_type or "").partition(";")[0].strip().lower())
    if found is None:
        raise WireError(
            f"content type {(content_type or '')[:60]!r}: send {Encoding.JSON} or "
            f"{Encoding.MSGPACK}; none means JSON"
        )
    return found


def unpack(encoding: Encoding, payload: bytes) -> object:
    """Read a payload. What it allocates is bounded by the payload's length; so is its depth.

    Raises:
        WireError: it is not what its content type says.
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
            f"the payload is not msgpack, as its content type says: {detail}"
        ) from error


def pack(encoding: Encoding, answer: dict[str, Any]) -> bytes:
    """Write an answer. JSON has no NaN and no infinity: they become null."""
    if encoding is Encoding.JSON:
        return to_json(answer, inf_nan_mode="null")
    return cast("bytes", msgpack.packb(answer))
