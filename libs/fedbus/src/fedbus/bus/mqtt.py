"""The one door to MQTT: nobody else imports aiomqtt or paho.

A connection is a `with` block and a fresh client: one that is used again would first repeat the
very packet the broker threw it out for. MQTT 5, clean start, QoS 0, TCP_NODELAY; what must arrive
is asked for again above (`ask.py`, `transfer/`). What nobody would say again, a person's job, the
broker keeps for a name that asks for it (`keep`).

aiomqtt logs in, subscribes and keeps the connection alive; packets go through `pipe.py`.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import aiomqtt
from paho.mqtt.client import Client, error_string
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from fedbus.bus import login
from fedbus.bus.base import BrokerAddress, Bus, Packet
from fedbus.bus.frames import Frame
from fedbus.bus.pipe import LONGEST_PACKET, Pipe
from fedbus.bus.properties import pack, unpack
from fedbus.errors import BusError

ANSWER_SECONDS = 10.0
LEAVE_SECONDS = 2.0
KEEPALIVE_SECONDS = 30
SESSION_SECONDS = 7 * 86_400
"""How long a broker keeps what was published for somebody who is away."""
KEPT_ON_HEAP = 8 * 2**20
SHARE = "$share/"
CONNACK = 0x20

_CALLBACKS = (
    *("on_connect", "on_disconnect", "on_message", "on_subscribe", "on_unsubscribe"),
    *("on_socket_close", "on_socket_register_write", "on_socket_unregister_write"),
)

_log = logging.getLogger("fedbus.mqtt")  # aiomqtt's and paho's talk; what matters is raised
_log.setLevel(logging.CRITICAL)

T = TypeVar("T")


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
    With `lend`, large payloads arrive as memoryviews: for who looks at them once and lets go.

    The broker publishes the will, retained, if the connection breaks or an exception, a
    cancellation too, leaves the block.

    Raises:
        BusError: refused, unreachable, or lost; says where, why, and what to look at.
    """
    client = _client(address, name, will, keepalive, keep=bool(keep))
    link = _Link(address, client, lend=lend, keep=bool(keep))
    await link.login()
    try:
        await link.follow(listen, keep)
        yield link
    except BaseException:
        await link.leave(say_will=True)
        raise
    await link.leave(say_will=False)


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
    return aiomqtt.Will(packet.topic, packet.payload, retain=True, properties=_Packed(packet))


class _Packed(Properties):
    """A packet's properties in the form they are sent in."""

    packed: bytes

    def __init__(self, packet: Packet) -> None:
        object.__setattr__(self, "packed", pack(packet))  # the parent would refuse the name

    def pack(self) -> bytes:
        return self.packed


_unpack: Callable[[Properties, bytes], tuple[Properties, int]] = Properties.unpack


def _unpack_leniently(self: Properties, buffer: bytes) -> tuple[Properties, int]:
    """Unpack without losing the connection over a property that nobody here reads."""
    if self.packetType != PacketTypes.PUBLISH:
        return _unpack(self, buffer)
    found, size = unpack(buffer)
    for name, value in found.items():
        object.__setattr__(self, name, value)  # the parent would look twice at what is settled
    return self, size


# For the whole process: otherwise one retained message from whoever may write to a topic would keep
# all who subscribe to it away from the broker for ever.
Properties.unpack = _unpack_leniently  # type: ignore[method-assign]


class _Link:
    """One connection, from login to loss."""

    def __init__(
        self, address: BrokerAddress, client: aiomqtt.Client, *, lend: bool, keep: bool
    ) -> None:
        self._address = address
        self._client = client
        self._keep = keep
        self._offer = login.Offer()
        self._lacks: list[str] = []
        self._taken: dict[int, asyncio.Future[ReasonCode]] = {}
        self._delivering = 0
        self._who = address.username or "nobody (no user name was given)"
        # A private name of aiomqtt's; for what is called on it see `pipe.py`. aiomqtt's own way
        # takes four turns of the event loop for a publication, and does not tell why a connection
        # closed before its login was answered, nor what the answer announced.
        self._paho: Client = client._client  # noqa: SLF001
        self._pipe = Pipe(
            self._paho,
            _Packed,
            on_fault=self._on_fault,
            on_control=self._on_control,
            on_bytes=self._note_bytes,
            on_first=self._check_first,
            lend=lend,
        )
        self._loop = asyncio.get_running_loop()
        self._in = False
        self._lost: BusError | None = None
        self._closed = asyncio.Event()
        self._waiting: set[asyncio.Timeout] = set()

    # ── the bus ────────────────────────────────────────────────────────────────────────────────

    async def publish(self, packet: Packet) -> None:
        """Send a packet; wait while the socket is full."""
        await self._pipe.send(packet)

    @property
    def lacks(self) -> tuple[str, ...]:
        """What this broker cannot do and fedbus does without."""
        return tuple(self._lacks)

    async def deliver(self, packet: Packet) -> bool:
        """Publish with QoS 1 and wait for the broker's word."""
        if not self._offer.most_qos:
            await self.publish(packet)  # and hope
            return True
        self._paho.on_publish = self._on_taken
        self._delivering += 1
        try:
            said = await self._pipe.send(packet, 1)
            taken = self._taken.setdefault(said.mid, self._loop.create_future())
            code = await self._answer(taken, f"publishing to {packet.topic}")
        finally:
            self._delivering -= 1
            if not self._delivering:  # paho tells of every packet that it has written as well
                self._paho.on_publish = None
                self._taken.clear()
        if code.is_failure:
            raise self._error(
                f"publishing to {packet.topic} refused: {code}; do the access rules let "
                f"{self._who} write there?",
                code.value,
            )
        return bool(code.value != login.NOBODY_LISTENS)

    def _on_taken(
        self, _client: Client, _data: object, mid: int, code: ReasonCode, _more: object
    ) -> None:
        taken = self._taken.setdefault(mid, self._loop.create_future())
        if not taken.done():
            taken.set_result(code)

    async def acknowledge(self, receipt: int) -> None:
        """Let the broker forget a packet."""
        await self._pipe.acknowledge(receipt)

    async def follow(self, listen: Sequence[str], keep: Sequence[str]) -> None:
        """Subscribe to all that is listened to, and to what is to be kept."""
        shared = [topic for topic in listen if topic.startswith(SHARE)]
        plain = [topic for topic in listen if topic not in shared]
        if plain or keep:
            codes = await self._subscribe(plain, keep)
            self._check_granted([*plain, *keep], codes)
            if any(code.value < 1 for code in codes[len(plain) :]) and not self._lacks:
                self._lacks.append(login.NOT_KEPT)
        for topic in shared:
            await self._share(topic)

    async def _share(self, topic: str) -> None:
        """Subscribe to a share of a topic; where the broker has no shares, to all of it."""
        if self._offer.shares:
            (code,) = await self._subscribe([topic], ())
            if not code.is_failure:
                return
        self._lacks.append(login.NO_SHARED)
        await self.subscribe(topic.split("/", 2)[2])

    async def subscribe(self, *topics: str) -> None:
        """Subscribe to one or more topics at once."""
        self._check_granted(topics, await self._subscribe(topics, ()))

    async def _subscribe(self, topics: Sequence[str], keep: Sequence[str]) -> list[ReasonCode]:
        wanted = [(topic, SubscribeOptions(qos=0)) for topic in topics]
        wanted += [(topic, SubscribeOptions(qos=1)) for topic in keep]
        what = f"subscribing to {wanted[0][0]}"
        codes: Any = await self._answer(self._client.subscribe(wanted), what)
        return list(codes)

    def _check_granted(self, topics: Sequence[str], codes: Sequence[ReasonCode]) -> None:
        for topic, code in zip(topics, codes, strict=True):
            if code.is_failure:
                raise self._error(
                    f"subscribing to {topic} refused: {code}; see the access rules", code.value
                )

    async def unsubscribe(self, topic: str) -> None:
        """Unsubscribe from a topic."""
        await self._answer(self._client.unsubscribe(topic), f"unsubscribing from {topic}")

    async def receive(self) -> list[Packet]:
        """Wait for a packet, then take all that have arrived."""
        return await self._pipe.inbox.take_all()

    async def batches(self) -> AsyncIterator[list[Packet]]:
        """Receive for ever."""
        while True:
            yield await self._pipe.inbox.take_all()

    async def __aiter__(self) -> AsyncIterator[Packet]:
        while True:
            yield await self._pipe.inbox.take()

    # ── login and loss ─────────────────────────────────────────────────────────────────────────

    async def login(self) -> None:
        """Connect; then let the pipe take over from aiomqtt what carries packets."""
        _keep_chunks_on_heap()
        answered: Any = self._paho.on_connect
        opened: Any = self._paho.on_socket_open

        def on_connect(client: Client, data: object, flags: object, code: Any, more: Any) -> None:  # noqa: ANN401
            self._offer = login.Offer.of(more)
            if code.is_failure:
                self._lose(login.refused(self._who, code.value, str(code)), code.value)
            elif self._offer.unfit:
                self._lose(self._offer.unfit)
            self._lacks += self._offer.lacks(keeps=self._keep)
            self._pipe.longest = self._offer.longest or LONGEST_PACKET
            answered(client, data, flags, code, more)

        def on_socket_open(client: Client, data: object, sock: object) -> None:
            # In the thread that connects. aiomqtt has its reader installed first, then ours.
            opened(client, data, sock)
            self._loop.call_soon_threadsafe(self._pipe.listen)

        self._paho.manual_ack_set(on=True)
        self._paho.on_connect = on_connect
        self._paho.on_socket_open = on_socket_open
        self._paho.on_disconnect = self._on_disconnect
        try:
            await self._answer(self._client.__aenter__(), "the login")
        except BaseException:
            self._hang_up()
            raise
        if self._lost is not None:
            self._hang_up()
            raise self._lost
        self._pipe.open()
        self._in = True

    def _check_first(self, first: memoryview) -> None:
        """Look at the first bytes that ever came: does a broker speak there?"""
        if why := login.stranger(bytes(first[:16]), tls=self._address.tls):
            raise ValueError(why)

    def _on_control(self, frame: Frame) -> None:
        if frame.head == CONNACK and (why := login.old_answer(bytes(frame.body), self._who)):
            raise ValueError(why)
        _hand_over(self._paho, frame)

    def _note_bytes(self) -> None:
        """Tell paho that the broker lives, even if its answer to a ping waits behind chunks."""
        self._paho._last_bytes_received = self._loop.time()  # noqa: SLF001 - see `_hand_over`

    async def leave(self, *, say_will: bool) -> None:
        """Say goodbye, so that the broker forgets or says the will; close in any case."""
        try:
            if self._lost is None:
                self._lose("this connection was left")
                will = ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message")
                self._paho.disconnect(will if say_will else None)
                async with asyncio.timeout(LEAVE_SECONDS):
                    await self._closed.wait()
        except TimeoutError:
            pass  # the network takes no more; the broker will notice
        finally:
            self._hang_up()
            await self._client.__aexit__(None, None, None)
            self._untie()

    def _untie(self) -> None:
        """Let go of whatever holds on to this connection, so that its memory is free at once."""
        lost = self._lost or self._error("this connection was left")
        self._lost = BusError(str(lost), lost.code)  # without its traceback, which leads back here
        self._pipe.close(self._lost)
        if self._paho.socket() is None:  # else paho has yet to say that it closes it
            for name in _CALLBACKS:
                setattr(self._paho, name, None)

    async def _answer(self, call: Awaitable[T], what: str) -> T:
        """Await the broker's answer, but no longer than the connection lasts."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS) as patience:
                self._waiting.add(patience)
                try:
                    return await call
                finally:
                    self._waiting.discard(patience)
        except TimeoutError:
            late = (
                f"no answer to {what} in {ANSWER_SECONDS:g} s; is this a broker with time for us?"
                if self._in
                else login.unanswered(ANSWER_SECONDS)
            )
            raise self._lost or self._error(late) from None
        except aiomqtt.MqttError as error:
            why = (
                f"{error}; {what}"
                if self._in
                else login.unreachable(str(error), tls=self._address.tls)
            )
            raise self._lost or self._error(why) from error

    def _on_disconnect(
        self,
        _client: Client,
        _data: object,
        flags: Any,  # noqa: ANN401 - two kinds, as paho sees fit
        code: Any,  # noqa: ANN401 - as above
        more: object,
    ) -> None:
        said = None
        if flags.is_disconnect_packet_from_server:
            said = code.value
            why = login.ended(said, str(getattr(more, "ReasonString", code)))
        elif self._in:
            why = f"connection lost ({code}); is the broker still running?"
        else:
            why = login.closed(tls=self._address.tls)
        self._closed.set()
        self._lose(why, said)

    def _on_fault(self, error: Exception) -> None:
        """End over bytes that cannot be read."""
        self._lose(str(error) if isinstance(error, ValueError) else repr(error))

    def _lose(self, why: str, code: int | None = None) -> None:
        self._lost = self._lost or self._error(why, code)
        self._pipe.end(self._lost)
        for patience in self._waiting:
            if not patience.expired():  # in the moment it expires it cannot be rescheduled
                patience.reschedule(self._loop.time())

    def _hang_up(self) -> None:
        """Close without a word, also if a thread is still about to connect."""
        self._paho.on_socket_open = _close
        sock = self._paho.socket()
        if isinstance(sock, socket.socket):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # whoever reads now finds the end, and closes
            self._pipe.read()

    def _error(self, why: str, code: int | None = None) -> BusError:
        return BusError(f"{self._address.where}: {why}", code)


def _hand_over(client: Client, frame: Frame) -> None:
    """Give paho a packet that it has not read itself, as if it had.

    It has no public way to take one. These private names are held by tests, and by the range of
    versions that we allow.
    """
    client._in_packet = {  # noqa: SLF001
        "command": frame.head,
        "have_remaining": 1,
        "remaining_count": [],
        "remaining_mult": 1,
        "remaining_length": len(frame.body),
        "packet": bytearray(frame.body),
        "to_process": 0,
        "pos": 0,
    }
    try:
        code = client._packet_handle()  # noqa: SLF001
    finally:
        client._in_packet = {  # noqa: SLF001
            "command": 0,
            "have_remaining": 0,
            "remaining_count": [],
            "remaining_mult": 1,
            "remaining_length": 0,
            "packet": bytearray(),
            "to_process": 0,
            "pos": 0,
        }
    if code > 0:
        raise ValueError(f"a packet that MQTT does not allow here: {error_string(code)}")


def _close(_client: object, _data: object, sock: Any) -> None:  # noqa: ANN401 - paho's socket
    """Give up a connection that was opened after we had turned away."""
    sock.close()
    raise ConnectionAbortedError


def _keep_chunks_on_heap() -> None:
    """Free one large block, which tells glibc to keep smaller ones for the next chunk.

    Until it has seen a larger one freed, it gives every block above 128 KiB back to the kernel, and
    each copy of a chunk costs 64 page faults: twice the time for a publication. Elsewhere this does
    nothing.
    """
    bytearray(KEPT_ON_HEAP)
