"""Node that runs a request to the repository over a client's session, and transfers its blobs."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypeVar

from fedbus.client.connection import PAUSE_SECONDS, ClientConnection
from fedbus.client.repository import RepositoryRequest
from fedbus.client.session import Subscription
from fedbus.client.task_group_errors import one_error
from fedbus.core import clock
from fedbus.distributions import version_of
from fedbus.errors import BusError, FedbusError
from fedbus.mqtt.bus import Bus, Packet
from fedbus.wire.topics import NODE_STATE

if TYPE_CHECKING:
    from fedbus.runtime.shell import Shell

IN_FLIGHT = 16 * 2**20
"""Bytes that may be on their way to or from this client at the same time."""
RECONNECTIONS = 20
"""At most, for one request: each login of another program with the account ends the connection."""

R = TypeVar("R")


class SessionBus:
    """Bus of a client's session that delivers to a node only what the node has subscribed to."""

    def __init__(self, bus: Bus, subscription: Subscription) -> None:
        self._bus = bus
        self._subscription = subscription

    @property
    def lacks(self) -> tuple[str, ...]:
        """What the broker cannot do."""
        return self._bus.lacks

    async def publish(self, *packets: Packet) -> None:
        """Publish packets."""
        await self._bus.publish(*packets)

    def publish_now(self, *packets: Packet) -> bool:
        """Publish packets, unless that had to wait."""
        return self._bus.publish_now(*packets)

    async def deliver(self, packet: Packet) -> bool:
        """Publish with QoS 1."""
        return await self._bus.deliver(packet)

    async def acknowledge(self, receipt: int) -> None:
        """Acknowledge a packet."""
        await self._bus.acknowledge(receipt)

    async def subscribe(self, topic: str) -> None:
        """Subscribe to one more topic."""
        self._subscription.filters += (topic,)
        await self._bus.subscribe(topic)

    async def unsubscribe(self, topic: str) -> None:
        """Unsubscribe from a topic."""
        self._subscription.filters = tuple(
            each for each in self._subscription.filters if each != topic
        )
        await self._bus.unsubscribe(topic)

    async def receive(self) -> list[Packet]:
        """Wait for a packet, then return all that have arrived."""
        return await self._subscription.read_all()

    async def batches(self) -> AsyncIterator[list[Packet]]:
        """Yield what arrives, until BusError."""
        while True:
            yield await self.receive()

    async def __aiter__(self) -> AsyncIterator[Packet]:
        while True:
            yield await self._subscription.read()


async def run(connection: ClientConnection, request: RepositoryRequest[R]) -> R:
    """Run a request to its end.

    Raises:
        BusError: the broker is unreachable, or refuses the account.
        FedbusError: as the request ended.
    """
    import structlog

    from fedbus.runtime.identity import Identity
    from fedbus.runtime.node import Node
    from fedbus.runtime.shell import Shell

    login = connection.login
    identity = Identity(
        name=login.node,
        incarnation=clock.incarnation(),
        version=version_of("fedbus"),
        root=login.root,
        in_flight=IN_FLIGHT,
    )
    # A node's events are for a service's log; a client raises what its user should know.
    silent = structlog.wrap_logger(
        structlog.ReturnLogger(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
    )
    node = Node(identity, request, random.SystemRandom())
    async with connection.session().transfers:
        shell = Shell(node, threads=1, logger=silent)
        try:
            return await _to_the_end(connection, shell, request)
        finally:
            shell.close()


async def _to_the_end(
    connection: ClientConnection, shell: "Shell", request: RepositoryRequest[R]
) -> R:
    """Serve a request over several connections, if needed; chunks that have arrived are kept."""
    outcome: asyncio.Future[R | FedbusError] = asyncio.get_running_loop().create_future()
    request.finish = lambda result: None if outcome.done() else outcome.set_result(result)
    for left in reversed(range(RECONNECTIONS)):
        served = False
        try:
            async with connection.subscribed(*shell.node.subscriptions()) as subscription:
                bus, served = await connection.open(), True
                result = await _served(shell, SessionBus(bus, subscription), outcome)
                # Other nodes have no use for the state of a request that has ended.
                own_state = connection.login.topic(NODE_STATE, node=connection.login.node)
                await bus.publish(Packet(own_state, b"", retain=True))
        except BusError:
            if outcome.done():
                result = outcome.result()
                break
            if not left or not served:
                raise
        else:
            break
        await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
    if isinstance(result, FedbusError):
        raise result
    return result


async def _served(shell: "Shell", bus: Bus, outcome: "asyncio.Future[R]") -> R:
    with one_error():
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(shell.serve(bus), name="serve")
            await asyncio.wait({outcome})  # which does not cancel it if the connection is lost
            serving.cancel()
    return outcome.result()
