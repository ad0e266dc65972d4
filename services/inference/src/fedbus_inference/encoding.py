"""The two encodings of requests and answers, told apart by their content type alone. Pure."""

from enum import StrEnum
from typing import Any, Final, cast

import msgpack
from pydantic_core import from_json, to_json

from fedbus.errors import WireError


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
    try:
        if encoding is Encoding.JSON:
            return cast("object", from_json(payload, allow_inf_nan=False))
        return cast("object", msgpack.unpackb(payload, timestamp=0))
    except (ValueError, msgpack.UnpackException, OverflowError) as error:
        detail = str(error) or type(error).__name__
        hint = {
            Encoding.JSON: f"is not JSON; msgpack needs the content type {Encoding.MSGPACK}",
            Encoding.MSGPACK: "is not msgpack, as its content type says",
        }
        raise WireError(f"the payload {hint[encoding]}: {detail}") from error


def pack(encoding: Encoding, answer: dict[str, Any]) -> bytes:
    """Write an answer. JSON has no NaN and no infinity: they become null."""
    if encoding is Encoding.JSON:
        return to_json(answer, inf_nan_mode="null")
    return cast("bytes", msgpack.packb(answer))
