"""PUBLISH and PUBACK packets, written and read (MQTT 5, sections 3.3 and 3.4). Pure.

The only place that knows the layout of the two; every other packet is paho's.
"""

from typing import cast

from fedbus.errors import BusError
from fedbus.mqtt.bus import Packet
from fedbus.mqtt.frames import PUBACK, PUBLISH, QOS_1, Frame
from fedbus.mqtt.properties import MAX_STRING_BYTES, pack, unpack, variable_length

MAX_PACKET_BYTES = 268_435_455
"""The longest packet of MQTT; a broker may announce less."""
LEND_FROM_BYTES = 32 * 1024
"""A shorter payload is copied out of the read buffer, a longer one can be lent."""

_RETAIN, _DUP = 0x01, 0x08
_IDENTIFIER_BYTES = 2

REFUSALS = {
    0x80: "Unspecified error",
    0x83: "Implementation specific error",
    0x87: "Not authorized",
    0x90: "Topic Name invalid",
    0x91: "Packet identifier in use",
    0x97: "Quota exceeded",
    0x99: "Payload format invalid",
}
"""The reason codes with which a broker refuses a publication of QoS 1."""


def write_publication(
    packet: Packet, limit: int = MAX_PACKET_BYTES, identifier: int | None = None
) -> tuple[bytes, bytes | memoryview]:
    """Write a PUBLISH as its header and its payload; with `identifier` of QoS 1, else of QoS 0.

    Raises:
        BusError: a topic or a property that MQTT does not allow, or more than `limit` bytes in all.
    """
    payload = packet.payload
    if not isinstance(payload, bytes):
        payload = memoryview(payload).cast("B")  # its length is then the one in bytes
    try:
        topic, properties = packet.topic.encode(), pack(packet)
    except ValueError as error:
        raise BusError(f"{packet.topic[:80]!r}: {error}") from error
    if not topic:
        raise BusError("a packet without a topic")
    if len(topic) > MAX_STRING_BYTES or b"+" in topic or b"#" in topic:
        raise BusError(
            f"{packet.topic[:80]!r}: expected a topic of at most {MAX_STRING_BYTES} bytes without "
            f"+ and #, got one of {len(topic)} bytes"
        )
    number = b"" if identifier is None else identifier.to_bytes(_IDENTIFIER_BYTES)
    kind = PUBLISH | packet.retain * _RETAIN | (0 if identifier is None else QOS_1)
    rest = 2 + len(topic) + len(number) + len(properties) + len(payload)
    length = variable_length(rest)
    size = 1 + len(length) + rest
    if size > limit:
        raise BusError(
            f"{packet.topic}: a packet of {size} bytes; the broker takes at most {limit} "
            "(max_packet_size)"
        )
    head = (bytes((kind,)), length, len(topic).to_bytes(2), topic, number, properties)
    return b"".join(head), payload


def read_publication(frame: Frame, *, lend: bool = False) -> Packet | None:
    """Read a PUBLISH of QoS 0 or 1; None if its topic is not UTF-8: no subscription matches it.

    With `lend` a large payload is a memoryview of the read buffer. A publication of QoS 1 has a
    receipt, its packet identifier, and the mark of a redelivery.

    Raises:
        ValueError: it ends inside its topic or its properties.
    """
    body = frame.body
    size = int.from_bytes(body[:2])
    if 2 + size > len(body):
        raise ValueError(f"a topic of {size} bytes in a packet of {len(body)}")
    end, receipt = 2 + size, None
    if frame.head & QOS_1:
        if end + _IDENTIFIER_BYTES > len(body):
            raise ValueError(f"no packet identifier in a packet of {len(body)} bytes")
        receipt = int.from_bytes(body[end : end + _IDENTIFIER_BYTES])
        end += _IDENTIFIER_BYTES
    properties, used = unpack(body[end:])
    try:
        topic = str(body[2 : 2 + size], "utf-8")
    except UnicodeDecodeError:
        return None
    content = body[end + used :]
    payload = cast("bytes", content) if lend and len(content) >= LEND_FROM_BYTES else bytes(content)
    retain = bool(frame.head & _RETAIN)
    if not properties and receipt is None:  # as nearly always
        return Packet(topic, payload, retain)
    again = bool(frame.head & _DUP)
    return Packet(topic, payload, retain, receipt=receipt, redelivered=again, **properties)


def write_acknowledgement(receipt: int) -> bytes:
    """Write a PUBACK: the publication with this packet identifier has been processed."""
    return bytes((PUBACK, _IDENTIFIER_BYTES)) + receipt.to_bytes(_IDENTIFIER_BYTES)


def read_acknowledgement(frame: Frame) -> tuple[int, int]:
    """Read a PUBACK: the packet identifier, and the reason code (0 where it is left out).

    Raises:
        ValueError: it is too short to hold a packet identifier.
    """
    body = frame.body
    if len(body) < _IDENTIFIER_BYTES:
        raise ValueError(f"no packet identifier in an acknowledgement of {len(body)} bytes")
    code = body[_IDENTIFIER_BYTES] if len(body) > _IDENTIFIER_BYTES else 0
    return int.from_bytes(body[:_IDENTIFIER_BYTES]), code
