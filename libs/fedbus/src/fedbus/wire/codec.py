"""Codec of messages: msgpack and JSON.

A payload's size is checked before it is parsed, msgpack's own lengths are bounded by the payload,
and each field is validated. Unknown fields are ignored, so that a newer node may add one.
"""

import json
from typing import Any, TypeVar

import msgpack
from pydantic import ConfigDict, TypeAdapter, ValidationError

from fedbus.digest import digest_of
from fedbus.errors import WireError
from fedbus.limits import MAX_MESSAGE_BYTES
from fedbus.scalars import IDENT, IDENT_SAID
from fedbus.wire import json_reader

T = TypeVar("T")


_NAME = f"^{IDENT}$"
_JSON_BYTES = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _adapters:
        # pydantic reads a stdlib dataclass's configuration from this attribute only.
        kind.__pydantic_config__ = _JSON_BYTES
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def _measured(kind: type[Any], payload: bytes) -> bytes:
    if len(payload) > MAX_MESSAGE_BYTES:
        raise WireError(
            f"{kind.__name__}: expected at most {MAX_MESSAGE_BYTES} bytes, got {len(payload)}"
        )
    return payload


def _sentence(kind: type[Any], error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part)[:64] for part in first["loc"]) or "message"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "json_invalid":
        return f"{kind.__name__}: not JSON: {first['ctx']['error']}"
    named = first.get("ctx", {}).get("pattern") == _NAME
    return f"{kind.__name__}.{where}: {f'not {IDENT_SAID}' if named else first['msg']}{more}"


def pack(message: object) -> bytes:
    """Encode a message as msgpack."""
    # The adapter's own methods cost a microsecond more.
    data: bytes = msgpack.packb(_adapter(type(message)).serializer.to_python(message))
    return data


def request_digest(message: object) -> str:
    """Return the digest that names a request in its refusal, equal at its sender and receiver.

    Fields that have their default values do not count, so that one of the two may know more fields.
    """
    kind = type(message)
    stated = _adapter(kind).serializer.to_python(message, exclude_defaults=True)
    return digest_of(msgpack.packb([kind.__name__, stated]))


def unpack(kind: type[T], payload: bytes) -> T:
    """Decode a message from msgpack.

    Raises:
        WireError: the payload is too large, is not msgpack, or a field is not valid.
    """
    try:
        plain = msgpack.unpackb(_measured(kind, payload), timestamp=0)
    except (ValueError, msgpack.UnpackException, OverflowError) as error:
        raise WireError(f"{kind.__name__}: not msgpack: {error}") from error
    return _validated(kind, plain)


def to_json(message: object) -> bytes:
    """Encode a message as JSON."""
    return _adapter(type(message)).dump_json(message)


def to_plain(message: object) -> Any:  # noqa: ANN401 - any JSON value
    """Convert a message to the types that `json.dumps` accepts."""
    return _adapter(type(message)).dump_python(message, mode="json")


def from_json(kind: type[T], payload: bytes) -> T:
    """Decode a message from JSON; raises as `unpack` does."""
    try:
        read: T = _adapter(kind).validate_json(_measured(kind, payload))
    except ValidationError as error:
        raise WireError(_sentence(kind, error)) from error
    return read


def from_foreign_json(kind: type[T], payload: bytes) -> T:
    """Decode a message from JSON that a person or another program wrote (`json_reader`).

    Raises:
        WireError: as `unpack`; or the JSON is ambiguous.
    """
    try:
        tree = json_reader.read_json(payload)
    except WireError as error:
        raise WireError(f"{kind.__name__}: {error}") from error
    return from_json(kind, json.dumps(tree).encode())


def _validated(kind: type[T], plain: object) -> T:
    try:
        message: T = _adapter(kind).validator.validate_python(plain)
    except ValidationError as error:
        raise WireError(_sentence(kind, error)) from error
    return message
