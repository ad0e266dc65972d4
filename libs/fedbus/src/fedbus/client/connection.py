"""MQTT connection of a client: retained documents, subscriptions, requests to services.

It publishes requests with response topics, as any MQTT client may: `mosquitto_rr` does the same.
Models cross the bus in chunks, for which it acts as a node: `session_node.py`.
"""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar

from fedbus.client.address import BrokerLogin
from fedbus.client.failures import Unreachable
from fedbus.client.missing_services import describe_missing
from fedbus.client.session import Session, Subscription
from fedbus.core import clock
from fedbus.errors import BusError
from fedbus.mqtt.bus import Bus, Packet
from fedbus.wire.topics import NODE_STATE, REPLIES

ANSWER_SECONDS = 15.0
"""How long a request waits for its answer by default."""
REPEAT_SECONDS = 2.0
REPORT_SECONDS = 3.0
"""Without an answer after this time, `tell` is called with what the request is waiting for."""
KEPT = "; nothing is lost: the broker keeps the request for it, once, whenever it leads again"
ECHO_SECONDS = 10.0
PAUSE_SECONDS = (0.1, 0.5)
"""Bounds of the random pause before a client reconnects."""

R = TypeVar("R")


class ClientConnection:
    """One client's part of a session: its subscriptions and its requests.

    Args:
        endpoint: The broker, and the account.
        tell: Called with a sentence when an answer takes longer than it should.
        answer_seconds: How long a request waits for its answer.
    """

    def __init__(
        self,
        login: BrokerLogin,
        tell: Callable[[str], None] = lambda _: None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.login = login
        self.tell = tell
        self.answer_seconds = answer_seconds
        self._session: Session | None = None
        self._subscriptions: list[Subscription] = []
        self._answers: dict[bytes, asyncio.Future[Packet]] = {}
        self._replies = login.topic(REPLIES, name=f"{login.node}-{secrets.token_hex(6)}")
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

    async def open(self) -> Bus:
        """Log in, unless we are.

        Raises:
            BusError: the broker is away, or refuses the account; or this connection is closed.
        """
        return await self.session().open()

    def session(self) -> Session:
        """Return the session, which may not be logged in.

        Raises:
            BusError: this connection is closed.
        """
        if self._closed:
            where = self.login.broker.where
            raise BusError(f"{where}: this client is closed; connect again")
        if self._session is None:
            self._session = Session.attach(self)
        return self._session

    async def close(self) -> None:
        """Leave the broker; what still waits for a packet ends with BusError."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            self.lost(BusError(f"{self.login.broker.where}: the connection is closed"))
            await session.detach(self)

    # ── what is on the bus ──────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def subscribed(self, *filters: str) -> AsyncIterator[Subscription]:
        """Subscribe for the length of a block.

        Raises:
            BusError: the broker is away, or refuses the account or a topic.
        """
        session = self.session()
        bus = await session.open()
        made = Subscription(filters)
        self._subscriptions.append(made)
        try:
            for topic in filters:
                await bus.subscribe(topic)
            yield made
        finally:
            self._subscriptions.remove(made)
            await session.unsubscribe(made.filters)

    async def retained(self, *filters: str) -> list[Packet]:
        """Collect what is retained under these topics, by topic; what was cleared is left out.

        Raises:
            BusError: the broker is away, or refuses a topic.
            Unreachable: the broker does not send our own message back.
        """

        async def collect() -> list[Packet]:
            async with self.subscribed(*filters) as subscription:
                return await self.all_retained(subscription)

        return await self.persistently(collect)

    async def all_retained(self, subscription: Subscription) -> list[Packet]:
        """Read what was retained when the subscription began, by topic.

        A broker keeps the order of a connection: a message that is published after subscribing
        comes back after all that was retained.
        """
        # Only this node may both write and read this topic, so the message comes back to it.
        node = self.login.node
        echo = f"{self.login.root}/link/{node}/{node}/echo-{secrets.token_hex(6)}"
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
                f"{self.login.broker.where}: the broker did not send back our own message in "
                f"{ECHO_SECONDS:g} s; do its access rules let {node} write and read "
                f"{self.login.root}/link/{node}/#?"
            ) from None
        subscription.filters = subscription.filters[1:]
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
            BusError: the broker is away, or refuses the message.
            Unreachable: no answer arrived in time; says whether the broker keeps the request.
        """
        until = clock.monotonic() + self.answer_seconds
        question = Packet(
            topic,
            payload,
            content_type=content_type,
            response_topic=self._replies,
            correlation=secrets.token_bytes(8),
        )
        answer, has_it = await self.persistently(lambda: self._ask(question, of, until, kept=kept))
        if answer is not None:
            return answer
        raise Unreachable(
            f"{of} did not answer in {self.answer_seconds:g} s at {self.login.broker.where}"
            + (KEPT if has_it else "; no broker keeps it: send it again" if kept else "")
            + "; is it running? `fedbus agents --all` lists who is online"
        )

    async def persistently(self, work: Callable[[], Awaitable[R]]) -> R:
        """Run `work`, and again where the connection broke while the broker is online.

        A broker that lets each account in once ends the connection when another program logs in
        with the account. `work` must be safe to repeat.
        """
        until = clock.monotonic() + self.answer_seconds
        while True:
            bus = await self.open()
            try:
                return await work()
            except BusError:
                lost = self._session is not None and self._session.bus is not bus
                if not lost or clock.monotonic() > until:
                    raise
            await asyncio.sleep(random.uniform(*PAUSE_SECONDS))

    async def _ask(
        self, question: Packet, of: str, until: float, *, kept: bool
    ) -> tuple[Packet | None, bool]:
        """Publish until an answer arrives; return it, if any, and whether the broker kept it."""
        bus = await self.open()
        if not self._hears_replies:
            await bus.subscribe(self._replies)
            self._hears_replies = True
        assert question.correlation is not None  # noqa: S101 - `request` has set it
        answer: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        self._answers[question.correlation] = answer
        told, has_it = not kept, kept
        publish = bus.deliver if kept else bus.publish
        begun = clock.monotonic()
        try:
            while (left := until - clock.monotonic()) > 0:
                has_it = await publish(question) is not False and has_it
                publish = bus.publish
                if (await asyncio.wait({answer}, timeout=min(REPEAT_SECONDS, left)))[0]:
                    return answer.result(), has_it
                if not told and clock.monotonic() - begun > REPORT_SECONDS:
                    told = True
                    packets = await self.retained(self.login.topic(NODE_STATE, node="+"))
                    if not answer.done():
                        self.tell(f"waiting for {of}: {describe_missing(packets)}")
        finally:
            del self._answers[question.correlation]
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # asyncio logs one that is not retrieved; publishing raised it
        return None, has_it

    # ── what a session calls ────────────────────────────────────────────────────────────────────

    def filters(self) -> Iterator[str]:
        """Yield the topics that this connection subscribes to."""
        if self._hears_replies:
            yield self._replies
        for subscription in self._subscriptions:
            yield from subscription.filters

    def take(self, packet: Packet) -> None:
        """Take a packet that the session has received, for it or for another connection."""
        if packet.topic == self._replies:
            answer = self._answers.get(packet.correlation or b"")
            if answer is not None and not answer.done():
                answer.set_result(packet)
            return
        for subscription in self._subscriptions:
            subscription.put(packet)

    def lost(self, error: Exception) -> None:
        """End everything that waits for a packet."""
        self._hears_replies = False
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
        for subscription in self._subscriptions:
            subscription.end(error)
