"""Conversion of packets on public topics to events, and of public actions to packets. Pure.

A link between two nodes carries only messages of fedbus; foreign clients also read and write public
topics, in JSON or msgpack as the topic table states.
"""

from typing import assert_never

from fedbus.core.actions import Announce, Clear, Reply
from fedbus.core.events import Received, ReplyTo, Requested
from fedbus.errors import WireError
from fedbus.mqtt.bus import Packet
from fedbus.wire import codec, topic_names
from fedbus.wire.identifiers import is_node


def event_of(packet: Packet, root: str, *, open_profile: bool) -> Received | Requested | None:
    """Parse a packet on a public topic; None: a retained message was cleared.

    Raises:
        WireError: the topic is not in the table, the payload cannot be read or contradicts its
        topic.
    """
    found = topic_names.public_topic(root, packet.topic)
    if found is None:
        raise WireError("not a topic of ours")
    topic, levels = found
    payload = bytes(packet.payload)  # a large payload is lent, and a core may keep it
    if topic.message is None:
        place = packet.response_topic
        why_not = topic_names.reply_topic_fault(place, root, open_profile=open_profile)
        reply = None
        if place is not None and not why_not:
            reply = ReplyTo(place, packet.correlation, packet.content_type)
        return Requested(
            topic,
            levels,
            payload,
            packet.content_type,
            reply,
            retained=packet.retain,
            receipt=packet.receipt,
            unanswerable=why_not,
            redelivered=packet.redelivered,
            expiry=packet.expiry,
        )
    if not payload:
        return None
    read = codec.from_json if topic.encoding == "json" else codec.unpack
    message = read(topic.message, payload)
    for level, value in levels.items():
        if str(getattr(message, level, value)) != value:
            raise WireError(
                f"{type(message).__name__}.{level}: expected {value[:64]!r} as in the topic"
            )
    sender = levels.get("node", "")
    if sender and not is_node(sender):
        raise WireError(f"{sender}: not a node's name")
    return Received(sender, message)


def packet_of(action: Announce | Clear | Reply, root: str) -> Packet:
    """Format a public action: the topic from the message's fields, the payload by the table."""
    match action:
        case Reply(to, payload, content_type):
            return Packet(to.topic, payload, content_type=content_type, correlation=to.correlation)
        case Clear(topic, levels):
            return Packet(topic_names.address(root, topic, **levels), b"", retain=True)
        case Announce(topic, message):
            levels = {level: getattr(message, level) for level in topic.levels}
            json = topic.encoding == "json"
            return Packet(
                topic_names.address(root, topic, **levels),
                codec.to_json(message) if json else codec.pack(message),
                retain=topic.retain,
                content_type="application/json" if json else None,
                expiry=topic.expiry,
            )
        case _:
            assert_never(action)
