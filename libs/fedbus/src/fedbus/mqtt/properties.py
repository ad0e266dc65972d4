"""MQTT 5 properties of a publication, packed and unpacked (section 2.2.2). Pure.

paho's `Properties` compares names with tables at every step: 40 µs for two properties where this
module takes two. It also rejects values that a broker passes on (see `unpack`).
"""

import struct
from typing import Any, Literal

from fedbus.mqtt.bus import Packet

EXPIRY, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION = 0x02, 0x03, 0x08, 0x09
MAX_STRING_BYTES = 65_535

Field = Literal["expiry", "content_type", "response_topic", "correlation"]
"""The field of a `Packet` that holds a property."""

_TEXTS: dict[int, Field] = {CONTENT_TYPE: "content_type", RESPONSE_TOPIC: "response_topic"}
# Bytes of a value by property: payload format, expiry, topic alias. The others carry their length.
_FIXED = {0x01: 1, EXPIRY: 4, 0x23: 2}
_SUBSCRIPTION, _USER = 0x0B, 0x26
_STRINGS = {CONTENT_TYPE: 1, RESPONSE_TOPIC: 1, CORRELATION: 1, _USER: 2}


def pack(packet: Packet) -> bytes:
    """Pack the properties of a packet: their length in bytes, then each of them.

    Raises:
        ValueError: a property is longer than MQTT allows.
    """
    fields = b""
    if packet.expiry is not None:
        fields += struct.pack(">BI", EXPIRY, min(max(packet.expiry, 0), 0xFFFFFFFF))
    if packet.content_type is not None:
        fields += _binary(CONTENT_TYPE, packet.content_type.encode())
    if packet.response_topic is not None:
        fields += _binary(RESPONSE_TOPIC, packet.response_topic.encode())
    if packet.correlation is not None:
        fields += _binary(CORRELATION, packet.correlation)
    return variable_length(len(fields)) + fields if fields else b"\0"


def unpack(buffer: bytes | memoryview) -> tuple[dict[Field, Any], int]:
    """Read the properties that `Packet` has, and the length in bytes of all properties.

    A value that fedbus cannot read is left out instead of raising: a broker passes on values that
    a receiver may reject (a payload format of 2; U+FEFF, which MQTT allows and paho rejects). An
    error would cost the receiver its connection, and a retained message every later one as well.

    Raises:
        ValueError: the properties end beyond the buffer.
    """
    size, at = _variable(buffer, 0)
    end = at + size
    if end > len(buffer):
        raise ValueError(f"properties: {end} bytes announced, {len(buffer)} there")
    found: dict[Field, Any] = {}
    while at < end:
        kind = buffer[at]
        start, at = at + 1, _end_of(kind, buffer, at + 1)
        if at > end:
            break
        if kind == EXPIRY:
            found["expiry"] = int.from_bytes(buffer[start:at])
        elif kind == CORRELATION:
            found["correlation"] = bytes(buffer[start + 2 : at])
        elif kind in _TEXTS:
            found[_TEXTS[kind]] = bytes(buffer[start + 2 : at]).decode(errors="replace")
    return found, end


def variable_length(number: int) -> bytes:
    """Pack a number into a variable byte integer (section 1.5.5), seven bits to a byte."""
    packed = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits
        packed.append(number & 0x7F | 0x80)
        number >>= 7
    packed.append(number)
    return bytes(packed)


def _binary(kind: int, value: bytes) -> bytes:
    if len(value) > MAX_STRING_BYTES:
        raise ValueError(f"property {kind}: {len(value)} bytes, at most {MAX_STRING_BYTES}")
    return struct.pack(">BH", kind, len(value)) + value


def _variable(buffer: bytes | memoryview, at: int) -> tuple[int, int]:
    """Read a variable byte integer; return it and the index behind it."""
    number = 0
    for i, byte in enumerate(buffer[at : at + 4]):
        number |= (byte & 0x7F) << 7 * i
        if byte < 0x80:  # noqa: PLR2004 - the last has no eighth bit
            return number, at + i + 1
    raise ValueError("a length that does not end")


def _end_of(kind: int, buffer: bytes | memoryview, at: int) -> int:
    """Return the index behind a value; beyond the buffer for an unknown property."""
    if kind in _FIXED:
        return at + _FIXED[kind]
    if kind == _SUBSCRIPTION:
        return _variable(buffer, at)[1]
    beyond = len(buffer) + 1
    for _ in range(_STRINGS.get(kind, 0)):
        at += 2 + int.from_bytes(buffer[at : at + 2])
    return at if kind in _STRINGS else beyond
