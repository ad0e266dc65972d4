"""MQTT 5 properties of a publication, packed and unpacked (section 2.2.2). Pure.

paho's own `Properties` compares names with tables at every step, which takes 40 µs for two
properties where this takes two, and refuses some that a broker lets through (see `unpack`).
"""

import struct
from typing import Any, Literal

from fedbus.bus.base import Packet

EXPIRY, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION = 0x02, 0x03, 0x08, 0x09
LONGEST = 65_535

Name = Literal["MessageExpiryInterval", "ContentType", "ResponseTopic", "CorrelationData"]

_NAMES: dict[int, Name] = {
    EXPIRY: "MessageExpiryInterval",
    CONTENT_TYPE: "ContentType",
    RESPONSE_TOPIC: "ResponseTopic",
    CORRELATION: "CorrelationData",
}
# Bytes of a value by kind: payload format, expiry, topic alias. The rest say their length.
_FIXED = {0x01: 1, EXPIRY: 4, 0x23: 2}
_SUBSCRIPTION, _USER = 0x0B, 0x26
_STRINGS = {CONTENT_TYPE: 1, RESPONSE_TOPIC: 1, CORRELATION: 1, _USER: 2}


def pack(packet: Packet) -> bytes:
    """Pack what a packet carries beside its payload: a length, then the properties.

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
    return variable_length(len(fields)) + fields


def unpack(buffer: bytes | memoryview) -> tuple[dict[Name, Any], int]:
    """Read the properties we use, and how many bytes all of them take; tolerant of their content.

    A broker passes on what a receiver may not like (a payload format of 2; U+FEFF, which MQTT
    allows and paho does not). Whoever raised at it would lose his connection, and if the message
    is retained lose it again at every login. So what cannot be read is left out.

    Raises:
        ValueError: the properties do not end where the buffer does or before.
    """
    size, at = _variable(buffer, 0)
    end = at + size
    if end > len(buffer):
        raise ValueError(f"properties: {end} bytes announced, {len(buffer)} there")
    found: dict[Name, Any] = {}
    while at < end:
        kind = buffer[at]
        start, at = at + 1, _end_of(kind, buffer, at + 1)
        if at > end:
            break
        if kind == EXPIRY:
            found["MessageExpiryInterval"] = int.from_bytes(buffer[start:at])
        elif kind == CORRELATION:
            found["CorrelationData"] = bytes(buffer[start + 2 : at])
        elif kind in _NAMES:
            text = bytes(buffer[start + 2 : at]).decode(errors="replace")
            found[_NAMES[kind]] = text
    return found, end


def variable_length(number: int) -> bytes:
    """Pack a number, seven bits to a byte, the lowest first."""
    packed = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits
        packed.append(number & 0x7F | 0x80)
        number >>= 7
    packed.append(number)
    return bytes(packed)


def _binary(kind: int, value: bytes) -> bytes:
    if len(value) > LONGEST:
        raise ValueError(f"property {kind}: {len(value)} bytes, at most {LONGEST}")
    return struct.pack(">BH", kind, len(value)) + value


def _variable(buffer: bytes | memoryview, at: int) -> tuple[int, int]:
    """Read such a number; return it and where it ends."""
    number = 0
    for i, byte in enumerate(buffer[at : at + 4]):
        number |= (byte & 0x7F) << 7 * i
        if byte < 0x80:  # noqa: PLR2004 - the last has no eighth bit
            return number, at + i + 1
    raise ValueError("a length that does not end")


def _end_of(kind: int, buffer: bytes | memoryview, at: int) -> int:
    """Find the end of a value; beyond the buffer if it has none."""
    if kind in _FIXED:
        return at + _FIXED[kind]
    if kind == _SUBSCRIPTION:
        return _variable(buffer, at)[1]
    beyond = len(buffer) + 1
    for _ in range(_STRINGS.get(kind, 0)):
        at += 2 + int.from_bytes(buffer[at : at + 2])
    return at if kind in _STRINGS else beyond
