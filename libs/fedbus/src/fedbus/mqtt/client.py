"""A bus over MQTT: log in to a broker, publish, subscribe, receive.

A connection is a `with` block and a fresh client: one that is used again would first repeat the
very packet the broker closed the connection for. MQTT 5, clean start, QoS 0, TCP_NODELAY; what must
arrive is requested again above (`ask.py`, `transfer/`). Only what nothing would repeat, a job that
a user submits, is kept by the broker for a name that asks for it (`keep`).
"""

import logging
import math
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from fedbus.mqtt import login
from fedbus.mqtt.broker_connection import ANSWER_SECONDS, Connection
from fedbus.mqtt.bus import BrokerAddress, Bus, Packet
from fedbus.mqtt.publications import REFUSALS

KEEPALIVE_SECONDS = 30
SESSION_SECONDS = 7 * 86_400
"""How long a broker keeps what was published for a name that is away."""
NEVER = math.inf
"""aiomqtt waits without a timer of its own: `Connection.answer` has one, and ends with the loss."""
SHARE = "$share/"
FAILURE = 0x80
"""Reason codes from here on are errors."""

_log = logging.getLogger("fedbus.mqtt")  # of aiomqtt and paho; what matters is raised
_log.setLevel(logging.CRITICAL)


@asynccontextmanager
async def connect(  # noqa: PLR0913 - all but the address have a good default, or are names
    address: BrokerAddress,
    *,
    name: str,
    listen: Sequence[str] = (),
    keep: Sequence[str] = (),
    will: Packet | None = None,
    keepalive: int = KEEPALIVE_SECONDS,
    lend: bool = False,
) -> AsyncIterator[Bus]:
    """Log in as `name`, subscribe to `listen`, and leave at the end of the block.

    What others publish with QoS 1 under the topics of `keep` the broker holds for this name, for a
    week after it was last here, and delivers until it is acknowledged: such packets have a receipt.
    With `lend`, large payloads arrive as memoryviews of the read buffer.

    The broker publishes the will, retained, if the connection breaks or an exception, a
    cancellation too, leaves the block.

    Raises:
        BusError: refused, unreachable, or lost; names the place, the reason, and what to check.
    """
    client = _client(address, name, will, keepalive, keep=bool(keep))
    connection = Connection(address, client, lend=lend, keep=bool(keep))
    await connection.login()
    try:
        bus = MqttBus(connection)
        await bus.follow(listen, keep)
        yield bus
    except BaseException:
        await connection.leave(say_will=True)
        raise
    await connection.leave(say_will=False)


def _client(
    address: BrokerAddress, name: str, will: Packet | None, keepalive: int, *, keep: bool
) -> aiomqtt.Client:
    ca_file = None if address.ca_file is None else str(address.ca_file)
    session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    if keep:
        session.SessionExpiryInterval = SESSION_SECONDS
    return aiomqtt.Client(
        address.host,
        address.port,
        username=address.username,
        password=address.password,
        identifier=name,
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=not keep,
        properties=session,
        keepalive=keepalive,
        timeout=2 * ANSWER_SECONDS,  # ours comes first
        will=None if will is None else _will(will),
        tls_params=aiomqtt.TLSParameters(ca_certs=ca_file) if address.tls else None,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        logger=_log,
    )


def _will(packet: Packet) -> aiomqtt.Will:
    properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
    for name, value in (
        ("ContentType", packet.content_type),
        ("ResponseTopic", packet.response_topic),
        ("CorrelationData", packet.correlation),
        ("MessageExpiryInterval", packet.expiry),
    ):
        if value is not None:
            setattr(properties, name, value)
    return aiomqtt.Will(packet.topic, packet.payload, retain=True, properties=properties)


class MqttBus:
    """A bus over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pipe = connection.pipe

    @property
    def lacks(self) -> tuple[str, ...]:
        """What this broker cannot do and fedbus does without."""
        return tuple(self._connection.lacks)

    async def publish(self, *packets: Packet) -> None:
        """Send packets; wait while the socket is full."""
        await self._pipe.send(*packets)

    def publish_now(self, *packets: Packet) -> bool:
        """Send packets, unless earlier ones wait for the socket."""
        return self._pipe.send_now(*packets)

    async def deliver(self, packet: Packet) -> bool:
        """Publish with QoS 1 and wait for the broker's acknowledgement."""
        connection = self._connection
        if not connection.features.most_qos:
            await self.publish(packet)  # and hope
            return True
        async with connection.deliveries.slots:
            identifier, acknowledged = connection.deliveries.start()
            try:
                await self._pipe.deliver(packet, identifier)
                code = await connection.answer(acknowledged, f"publishing to {packet.topic}")
            finally:
                connection.deliveries.forget(identifier)
        if code >= FAILURE:
            raise connection.error(
                f"publishing to {packet.topic} refused: {REFUSALS.get(code, hex(code))}; do the "
                f"access rules let {connection.who} write there?",
                code,
            )
        return code != login.NOBODY_LISTENS

    async def acknowledge(self, receipt: int) -> None:
        """Acknowledge a packet as processed, so that the broker keeps it no longer."""
        await self._pipe.acknowledge(receipt)

    async def follow(self, listen: Sequence[str], keep: Sequence[str]) -> None:
        """Subscribe to the topics of `listen` with QoS 0, and to those of `keep` with QoS 1."""
        shared = [topic for topic in listen if topic.startswith(SHARE)]
        plain = [topic for topic in listen if topic not in shared]
        lacks = self._connection.lacks
        if plain or keep:
            codes = await self._subscribe(plain, keep)
            self._check_granted([*plain, *keep], codes)
            if any(code.value < 1 for code in codes[len(plain) :]) and not lacks:
                lacks.append(login.NOT_KEPT)
        for topic in shared:
            await self._share(topic)

    async def subscribe(self, *topics: str) -> None:
        """Subscribe to one or more topics at once."""
        self._check_granted(topics, await self._subscribe(topics, ()))

    async def unsubscribe(self, topic: str) -> None:
        """Unsubscribe from a topic."""
        call = self._connection.client.unsubscribe(topic, timeout=NEVER)
        await self._connection.answer(call, f"unsubscribing from {topic}")

    async def receive(self) -> list[Packet]:
        """Wait for a packet, then take all that have arrived."""
        return await self._pipe.inbox.take_all()

    async def batches(self) -> AsyncIterator[list[Packet]]:
        """Yield what has arrived, again and again, until the connection ends."""
        while True:
            yield await self._pipe.inbox.take_all()

    async def __aiter__(self) -> AsyncIterator[Packet]:
        while True:
            yield await self._pipe.inbox.take()

    async def _share(self, topic: str) -> None:
        """Subscribe to a share of a topic; where the broker has no shares, to all of it."""
        if self._connection.features.shares:
            (code,) = await self._subscribe([topic], ())
            if not code.is_failure:
                return
        self._connection.lacks.append(login.NO_SHARED)
        await self.subscribe(topic.split("/", 2)[2])

    async def _subscribe(self, topics: Sequence[str], keep: Sequence[str]) -> list[ReasonCode]:
        wanted = [(topic, SubscribeOptions(qos=0)) for topic in topics]
        wanted += [(topic, SubscribeOptions(qos=1)) for topic in keep]
        call = self._connection.client.subscribe(wanted, timeout=NEVER)
        codes: Any = await self._connection.answer(call, f"subscribing to {wanted[0][0]}")
        return list(codes)

    def _check_granted(self, topics: Sequence[str], codes: Sequence[ReasonCode]) -> None:
        for topic, code in zip(topics, codes, strict=True):
            if code.is_failure:
                raise self._connection.error(
                    f"subscribing to {topic} refused: {code}; see the access rules", code.value
                )
