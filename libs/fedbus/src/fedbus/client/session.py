"""Login of a client at a broker, shared within an event loop."""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import ClassVar, Protocol
from weakref import WeakKeyDictionary

from fedbus.client.address import BrokerLogin
from fedbus.errors import BusError
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import Bus, Packet
from fedbus.wire.topic_names import matches
from fedbus.wire.topics import NODE_STATE

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

    async def read_all(self) -> list[Packet]:
        """Wait for a packet, and return all that wait.

        Raises:
            BusError: the connection is lost.
        """
        packets = [await self.read(), *self._waiting]
        self._waiting.clear()
        return packets

    async def news(self) -> AsyncIterator[Packet]:
        """Yield what is published; a topic that is cleared is left out.

        Raises:
            BusError: the connection is lost.
        """
        while True:
            packet = await self.read()
            if packet.payload:
                yield packet


class SessionUser(Protocol):
    """What a session calls on each connection that uses it."""

    login: BrokerLogin

    def filters(self) -> Iterable[str]:
        """Yield the topics that it subscribes to."""

    def take(self, packet: Packet) -> None:
        """Take a packet that has arrived, for it or for another user."""

    def lost(self, error: Exception) -> None:
        """End everything that waits for a packet."""


class Session:
    """One login at a broker, shared by all clients of its account in one event loop.

    A broker of fedbus lets one connection in for each account: a second one would end the first.
    It logs in when it is first used, and again when it is used after it broke.
    """

    _of_loops: ClassVar[
        WeakKeyDictionary[asyncio.AbstractEventLoop, dict[BrokerLogin, "Session"]]
    ] = WeakKeyDictionary()

    def __init__(self, login: BrokerLogin) -> None:
        self.bus: Bus | None = None
        self.transfers = asyncio.Lock()
        """Held by a request to the repository: two at a time would receive each other's chunks."""
        self._login = login
        self._reader: asyncio.Task[None] | None = None
        self._logging_in = asyncio.Lock()
        self._users: list[SessionUser] = []

    @classmethod
    def attach(cls, user: "SessionUser") -> "Session":
        """Return the session of a user's account in the running loop."""
        sessions = cls._of_loops.setdefault(asyncio.get_running_loop(), {})
        session = sessions.setdefault(user.login, cls(user.login))
        session.add(user)
        return session

    def add(self, user: "SessionUser") -> None:
        """Deliver what the broker sends from now on to a user."""
        self._users.append(user)

    async def detach(self, user: "SessionUser") -> None:
        """Leave the broker once nothing uses the session."""
        self._users.remove(user)
        if not self._users:
            del self._of_loops[asyncio.get_running_loop()][self._login]
            await self._stop()

    async def open(self) -> Bus:
        """Log in, unless we are.

        Raises:
            BusError: the broker is unreachable, or refuses the account.
        """
        async with self._logging_in:
            if self.bus is not None:
                return self.bus
            await self._stop()
            ready: asyncio.Future[Bus] = asyncio.get_running_loop().create_future()
            # Not in a task group, which would cancel the caller's block and wrap its errors.
            self._reader = asyncio.create_task(self._read(ready), name="fedbus client")
            try:
                return await ready
            except BaseException:
                await self._stop()
                raise

    async def unsubscribe(self, filters: Iterable[str]) -> None:
        """Unsubscribe from topics that no user wants any more."""
        wanted = {topic for user in self._users for topic in user.filters()}
        with suppress(BusError):  # then there is nothing to unsubscribe from
            for topic in filters:
                if topic not in wanted and self.bus is not None:
                    await self.bus.unsubscribe(topic)

    async def _read(self, ready: asyncio.Future[Bus]) -> None:
        at = self._login
        lost: Exception = BusError(f"{at.broker.where}: the connection is closed")
        # Deletes the state that a request with blobs publishes, should this process be killed.
        will = Packet(at.topic(NODE_STATE, node=at.node), b"", retain=True)
        name = f"{at.node}-{secrets.token_hex(4)}"
        try:
            async with mqtt.connect(at.broker, name=name, will=will) as bus:
                self.bus = bus
                ready.set_result(bus)
                async for packet in bus:
                    for user in self._users:
                        user.take(packet)
        except Exception as error:  # noqa: BLE001 - raised where a caller waits
            lost = error
        finally:
            self.bus = None
            if not ready.done():
                ready.set_exception(lost)
            for user in self._users:
                user.lost(lost)

    async def _stop(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.wait({reader})
