"""MQTT connection of a client: retained documents, subscriptions, requests to services.

A client speaks as any MQTT client does, with response topics: what it can do, `mosquitto_rr` can do
as well. Models cross the bus in chunks, for which a connection of its own is made: `transfer.py`.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Self

from fedbus.client.address import Endpoint
from fedbus.client.failures import Unreachable
from fedbus.core import clock
from fedbus.errors import BusError, WireError
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import Bus, Packet
from fedbus.wire import codec
from fedbus.wire.documents import NodeState
from fedbus.wire.topics import NODE_STATE, REPLIES, matches
from fedbus.wire.values import role_of

ANSWER_SECONDS = 15.0
"""How long a request waits for its answer by default."""
REPEAT_SECONDS = 2.0
REPORT_SECONDS = 3.0
"""Without an answer after this time, `tell` is called with what the request is waiting for."""
KEPT = "; nothing is lost: the broker keeps the request for it, once, whenever it leads again"
ECHO_SECONDS = 10.0
MAX_WAITING_PACKETS = 65_536
"""In one subscription, to be read; then the oldest is dropped for the newest."""


class Subscription:
    """Packets of some topics in the order in which they arrived, until the connection breaks."""

    def __init__(self, filters: tuple[str, ...]) -> None:
        self.filters = filters
        self._waiting: deque[Packet] = deque(maxlen=MAX_WAITING_PACKETS)
        self._arrived = asyncio.Event()
        self._lost: Exception | None = None

    def put(self, packet: Packet) -> None:
        """Add a packet, if one of the filters matches its topic."""
        if any(matches(each, packet.topic) for each in self.filters):
            self._waiting.append(packet)
            self._arrived.set()

    def end(self, error: Exception) -> None:
        """Raise this error once all packets are read."""
        self._lost = error
        self._arrived.set()

    async def read(self) -> Packet:
        """Wait for the next packet.

        Raises:
            BusError: the connection is lost.
        """
        while not self._waiting:
            if self._lost is not None:
                raise self._lost
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()

    async def news(self) -> AsyncIterator[Packet]:
        """Yield what is published; a topic that is cleared is left out.

        Raises:
            BusError: the connection is lost.
        """
        while True:
            packet = await self.read()
            if packet.payload:
                yield packet


class Connection:
    """One login at a broker, for all that a client does at the same time.

    It logs in when it is first used, and again when it is used after it broke.

    Args:
        endpoint: The broker, and the account.
        tell: Called with a sentence when an answer takes longer than it should.
        answer_seconds: How long a request waits for its answer.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        tell: Callable[[str], None] = lambda _: None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.endpoint = endpoint
        self.tell = tell
        self.answer_seconds = answer_seconds
        self._bus: Bus | None = None
        self._reader: asyncio.Task[None] | None = None
        self._login = asyncio.Lock()
        self._subscriptions: list[Subscription] = []
        self._answers: dict[bytes, asyncio.Future[Packet]] = {}
        self._replies = endpoint.topic(REPLIES, name=f"{endpoint.node}-{secrets.token_hex(6)}")
        self._hears_replies = False
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave the broker; what still waits for a packet ends with BusError."""
        self._closed = True
        await self._stop()

    # ── what is on the bus ──────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def subscribed(self, *filters: str) -> AsyncIterator[Subscription]:
        """Subscribe for the length of a block.

        Raises:
            BusError: the broker is away, or refuses the account or a topic.
        """
        bus = await self.open()
        made = Subscription(filters)
        self._subscriptions.append(made)
        try:
            for each in filters:
                await bus.subscribe(each)
            yield made
        finally:
            self._subscriptions.remove(made)
            await self._unsubscribe(bus, filters)

    async def retained(self, *filters: str) -> list[Packet]:
        """Collect what is retained under these topics, by topic; what was cleared is left out.

        Raises:
            BusError: the connection is lost.
            Unreachable: the broker does not send our own message back.
        """
        async with self.subscribed(*filters) as subscription:
            return await self.all_retained(subscription)

    async def all_retained(self, subscription: Subscription) -> list[Packet]:
        """Read what was retained when the subscription began, by topic.

        The broker keeps the order of a connection: once it has sent back what we publish after
        subscribing, it has sent all it had retained.
        """
        # Our own words come back to us: we may write and read this topic, and no other node both.
        node = self.endpoint.node
        echo = f"{self.endpoint.root}/link/{node}/{node}/echo-{secrets.token_hex(6)}"
        bus = await self.open()
        subscription.filters = (echo, *subscription.filters)
        found: dict[str, Packet] = {}
        try:
            async with asyncio.timeout(ECHO_SECONDS):
                await bus.subscribe(echo)
                await bus.publish(Packet(echo, b""))
                while (packet := await subscription.read()).topic != echo:
                    found[packet.topic] = packet
        except TimeoutError:
            raise Unreachable(
                f"{self.endpoint.broker.where}: the broker did not send back our own message in "
                f"{ECHO_SECONDS:g} s; do its access rules let {node} write and read "
                f"{self.endpoint.root}/link/{node}/#?"
            ) from None
        await bus.unsubscribe(echo)
        return [found[topic] for topic in sorted(found) if found[topic].payload]

    async def clear(self, topic: str) -> None:
        """Delete what is retained on a topic, where the access rules let us."""
        await (await self.open()).publish(Packet(topic, b"", retain=True))

    # ── requests ────────────────────────────────────────────────────────────────────────────────

    async def request(
        self,
        topic: str,
        payload: bytes,
        *,
        of: str,
        content_type: str | None = "application/json",
        kept: bool = False,
    ) -> Packet:
        """Publish a request, and again every two seconds, until its answer arrives.

        A broker may lose any message, so a request must be one that a service may receive twice.
        One that is `kept` is published with QoS 1 the first time: the broker has it then, even if
        this client ends.

        Args:
            topic: Where the service listens.
            payload: The request.
            of: The service, for the error message.
            content_type: Of the payload.
            kept: Whether the broker holds requests on this topic until a service acknowledges them.

        Raises:
            BusError: the connection is lost, or the broker refuses the message.
            Unreachable: no answer arrived in time; says whether the broker keeps the request.
        """
        bus = await self.open()
        if not self._hears_replies:
            await bus.subscribe(self._replies)
            self._hears_replies = True
        correlation = secrets.token_bytes(8)
        question = Packet(
            topic,
            payload,
            content_type=content_type,
            response_topic=self._replies,
            correlation=correlation,
        )
        answer: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        self._answers[correlation] = answer
        try:
            has_it = await self._repeat(bus, question, answer, of=of, kept=kept)
            if answer.done():
                return answer.result()
        finally:
            del self._answers[correlation]
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # is known: publishing has raised it, too
        raise Unreachable(
            f"{of} did not answer in {self.answer_seconds:g} s at {self.endpoint.broker.where}"
            + (KEPT if has_it else "; no broker keeps it: send it again" if kept else "")
            + "; is it running? `fedbus agents --all` lists who is online"
        )

    async def _repeat(
        self, bus: Bus, question: Packet, answer: asyncio.Future[Packet], *, of: str, kept: bool
    ) -> bool:
        """Publish until there is an answer or no time is left; return whether the broker has it."""
        begun = clock.monotonic()
        told, has_it = not kept, kept
        publish = bus.deliver if kept else bus.publish
        while (left := begun + self.answer_seconds - clock.monotonic()) > 0:
            has_it = await publish(question) is not False and has_it
            publish = bus.publish
            if (await asyncio.wait({answer}, timeout=min(REPEAT_SECONDS, left)))[0]:
                break
            if not told and clock.monotonic() - begun > REPORT_SECONDS:
                told = True
                packets = await self.retained(self.endpoint.topic(NODE_STATE, node="+"))
                if not answer.done():
                    self.tell(f"waiting for {of}: {awaited(packets)}")
        return has_it

    # ── the connection ──────────────────────────────────────────────────────────────────────────

    async def open(self) -> Bus:
        """Log in, unless we are.

        Raises:
            BusError: the broker is away, or refuses the account.
        """
        async with self._login:
            if self._bus is not None:
                return self._bus
            if self._closed:
                raise BusError(
                    f"{self.endpoint.broker.where}: this client is closed; connect again"
                )
            await self._stop()
            ready: asyncio.Future[Bus] = asyncio.get_running_loop().create_future()
            # Not in a task group: that would cancel, and rename the errors of, our user's block.
            self._reader = asyncio.create_task(self._read(ready), name="fedbus client")
            try:
                return await ready
            except BaseException:
                await self._stop()
                raise

    async def _read(self, ready: asyncio.Future[Bus]) -> None:
        lost: Exception = BusError(f"{self.endpoint.broker.where}: the connection is closed")
        try:
            name = client_id(self.endpoint)
            async with mqtt.connect(self.endpoint.broker, name=name) as bus:
                self._bus = bus
                ready.set_result(bus)
                async for packet in bus:
                    self._take(packet)
        except Exception as error:  # noqa: BLE001 - raised where somebody waits
            lost = error
        finally:
            self._bus, self._hears_replies = None, False
            if not ready.done():
                ready.set_exception(lost)
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(lost)
            for subscription in self._subscriptions:
                subscription.end(lost)

    def _take(self, packet: Packet) -> None:
        if packet.topic == self._replies:
            answer = self._answers.get(packet.correlation or b"")
            if answer is not None and not answer.done():
                answer.set_result(packet)
            return
        for subscription in self._subscriptions:
            subscription.put(packet)

    async def _unsubscribe(self, bus: Bus, filters: Iterable[str]) -> None:
        """Unsubscribe from what no other subscription wants."""
        wanted = {each for other in self._subscriptions for each in other.filters}
        with suppress(BusError):  # then there is nothing to take back
            for each in filters:
                if each not in wanted and bus is self._bus:
                    await bus.unsubscribe(each)

    async def _stop(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.wait({reader})


def awaited(packets: Iterable[Packet]) -> str:
    """Name what is missing for a decision about jobs, by the states of nodes."""
    online: dict[str, list[str]] = {"controller": [], "repository": []}
    for packet in packets:
        with suppress(WireError):
            state = codec.from_json(NodeState, packet.payload)
            if state.online and role_of(state.node) in online:
                online[role_of(state.node)].append(state.node)
    if not online["controller"]:
        return "none is online"
    if not online["repository"]:
        return f"{online['controller'][0]} is online, but no repository, without which none decides"
    return f"{', '.join(online['controller'])} is online and has not decided yet"


def client_id(endpoint: Endpoint) -> str:
    """Return a new MQTT client id: several clients may use one account at the same time."""
    return f"{endpoint.node}-{secrets.token_hex(4)}"
