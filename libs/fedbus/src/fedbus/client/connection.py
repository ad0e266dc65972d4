"""MQTT connection of a client: subscriptions, retained documents, and what repeats them."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar

from fedbus.client.address import BrokerLogin
from fedbus.client.failures import Unreachable
from fedbus.client.request_channel import RequestChannel
from fedbus.client.session import Session, Subscription
from fedbus.core import clock
from fedbus.errors import BusError
from fedbus.mqtt.bus import Bus, Packet

ANSWER_SECONDS = 15.0
"""How long a request waits for its answer by default."""
ECHO_SECONDS = 10.0
PAUSE_SECONDS = (0.1, 0.5)
"""Bounds of the random pause before a client reconnects."""

R = TypeVar("R")


class ClientConnection:
    """One client's part of a session: its subscriptions and its requests.

    Args:
        login: The broker, and the account.
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
        self.requests = RequestChannel(self)
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
            BusError: the broker is unreachable or refuses the account, or this client is closed.
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
        """Leave the broker; calls that still wait for a packet end with BusError."""
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
            BusError: the broker is unreachable, or refuses the account or a topic.
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
            BusError: the broker is unreachable, or refuses a topic.
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
                if self._closed or clock.monotonic() > until:
                    raise
                await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
                if self.session().bus is bus:  # the broker has refused something
                    raise

    # ── what a session calls ────────────────────────────────────────────────────────────────────

    def filters(self) -> Iterator[str]:
        """Yield the topics that this connection subscribes to."""
        yield from self.requests.filters()
        for subscription in self._subscriptions:
            yield from subscription.filters

    def take(self, packet: Packet) -> None:
        """Take a packet that the session has received, for it or for another connection."""
        self.requests.take(packet)
        for subscription in self._subscriptions:
            subscription.put(packet)

    def lost(self, error: Exception) -> None:
        """End everything that waits for a packet."""
        self.requests.lost(error)
        for subscription in self._subscriptions:
            subscription.end(error)
