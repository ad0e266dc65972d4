"""One connection of a command: what is retained, what is said from now on, questions to services.

A command speaks as a foreign client does, with response topics: whatever it can do, `mosquitto_rr`
can do as well. Models cross the bus in chunks and need a node: `repository.py`.
"""

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeVar

from fedbus.client.address import Where
from fedbus.client.failures import Unreachable
from fedbus.client.groups import one_error
from fedbus.client.repository import Errand
from fedbus.core import clock
from fedbus.errors import FedbusError, WireError
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import Bus, Packet
from fedbus.wire import codec
from fedbus.wire.documents import NodeState
from fedbus.wire.topics import NODE_STATE, REPLIES
from fedbus.wire.values import role_of

if TYPE_CHECKING:
    from fedbus.runtime.shell import Shell

PATIENCE_SECONDS = 15.0
REPEAT_SECONDS = 2.0
WORRY_SECONDS = 3.0
"""Without an answer for so long, a command says what it waits for."""
KEPT = "; nothing is lost: the broker keeps the request for it, once, whenever it leads again"
ECHO_SECONDS = 10.0
IN_FLIGHT = 16 * 2**20

R = TypeVar("R")


class Client:
    """One connection to a broker, for one request after the other.

    Args:
        bus: The connection.
        where: The broker and our address there.
        tell: Called with a sentence when an answer takes longer than it should.
    """

    def __init__(self, bus: Bus, where: Where, tell: Callable[[str], None]) -> None:
        self.where = where
        self._tell = tell
        self._bus = bus
        # Our own words come back to us: we may write and read this topic, and nobody else both.
        self._echo = f"{where.root}/link/{where.node}/{where.node}/echo-{secrets.token_hex(6)}"

    async def retained(self, *filters: str) -> list[Packet]:
        """Collect what is retained under these topics, by topic; what was cleared is left out.

        The broker keeps the order of a connection: once it has sent back what we say after
        subscribing, it has sent all it had retained.

        Raises:
            BusError: the connection is lost.
            Unreachable: the broker does not send our own words back.
        """
        for topic in (self._echo, *filters):
            await self._bus.subscribe(topic)
        await self._bus.publish(Packet(self._echo, b""))
        found: dict[str, Packet] = {}
        try:
            async with asyncio.timeout(ECHO_SECONDS):
                async for packet in self._bus:
                    if packet.topic == self._echo:
                        return [found[topic] for topic in sorted(found) if found[topic].payload]
                    found[packet.topic] = packet
        except TimeoutError:
            pass
        raise Unreachable(
            f"{self.where.broker.where}: the broker did not send back our own message in "
            f"{ECHO_SECONDS:g} s; do its access rules let {self.where.node} write and read "
            f"{self.where.root}/link/{self.where.node}/#?"
        )

    async def heard(self) -> AsyncIterator[Packet]:
        """Receive, for ever, what comes under the topics that `retained` was asked for.

        Raises:
            BusError: the connection is lost.
        """
        async for packet in self._bus:
            if packet.payload:
                yield packet

    async def clear(self, topic: str) -> None:
        """Take back what is retained on a topic, where we may write it."""
        await self._bus.publish(Packet(topic, b"", retain=True))

    async def ask(  # noqa: PLR0913 - each is a property of one MQTT request
        self,
        topic: str,
        payload: bytes,
        *,
        of: str,
        content_type: str | None = "application/json",
        patience: float = PATIENCE_SECONDS,
        kept: bool = False,
    ) -> Packet:
        """Say something and wait for the answer on a topic of our own, saying it again meanwhile.

        A broker may lose any message; what is asked here may safely be asked twice. What is `kept`
        is said with QoS 1 the first time: the broker has it then, whatever becomes of us.

        Raises:
            BusError: the connection is lost, or the broker refuses the message.
            Unreachable: no answer came in time; names who (`of`) did not answer, and says whether
                the broker keeps the question.
        """
        name = f"{self.where.node}-{secrets.token_hex(6)}"
        answers = self.where.topic(REPLIES, name=name)
        await self._bus.subscribe(answers)
        question = Packet(
            topic,
            payload,
            content_type=content_type,
            response_topic=answers,
            correlation=secrets.token_bytes(8),
        )
        begun = clock.monotonic()
        saying = self._bus.deliver if kept else self._bus.publish
        unsaid = True  # to a person, that this takes longer than it should
        has_it = kept
        try:
            while (left := begun + patience - clock.monotonic()) > 0:
                has_it = await saying(question) is not False and has_it
                saying = self._bus.publish
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(REPEAT_SECONDS, left)):
                        return await self._first(answers)
                if kept and unsaid and clock.monotonic() - begun > WORRY_SECONDS:
                    unsaid = False
                    packets = await self.retained(self.where.topic(NODE_STATE, node="+"))
                    answer = [packet for packet in packets if packet.topic == answers]
                    if answer:
                        return answer[0]
                    self._tell(f"waiting for {of}: {awaited(packets)}")
        finally:
            await self._bus.unsubscribe(answers)
        raise Unreachable(
            f"{of} did not answer in {patience:g} s at {self.where.broker.where}"
            + (KEPT if has_it else "; no broker keeps it: send it again" if kept else "")
            + "; is it running? `fedbus agents --all` lists who is online"
        )

    async def _first(self, topic: str) -> Packet:
        async for packet in self._bus:
            if packet.topic == topic:
                return packet
        raise AssertionError  # a bus never ends without an error


def awaited(packets: Iterable[Packet]) -> str:
    """Say who is missing for a decision on jobs, by what nodes say of themselves."""
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


@asynccontextmanager
async def connected(
    where: Where, tell: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Client]:
    """Connect for the length of a block.

    Args:
        where: The broker and our address there.
        tell: Called with a sentence when an answer takes longer than it should.

    Raises:
        BusError: the broker is away or refuses us.
    """
    async with mqtt.connect(where.broker, name=_client_id(where)) as bus:
        yield Client(bus, where, tell)


async def run(where: Where, errand: Errand[R]) -> R:
    """Do an errand on a connection of its own.

    Raises:
        BusError: the broker is away or refuses us.
        FedbusError: as the errand ended.
    """
    import structlog

    from fedbus.runtime.node import Identity, Node
    from fedbus.runtime.shell import Shell

    # A node's notes are for a service's log; a command says itself what a person should know.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    outcome: asyncio.Future[R | FedbusError] = asyncio.get_running_loop().create_future()
    errand.finish = lambda result: None if outcome.done() else outcome.set_result(result)
    identity = Identity(
        name=where.node,
        incarnation=clock.incarnation(),
        version=version("fedbus"),
        root=where.root,
        in_flight=IN_FLIGHT,
    )
    node = Node(identity, errand, random.SystemRandom())
    shell = Shell(node, threads=1)
    try:
        async with mqtt.connect(
            where.broker, name=_client_id(where), listen=node.subscriptions(), will=node.will()
        ) as bus:
            result = await _served(shell, bus, outcome)
            # Nobody need know that this node was ever there.
            await bus.publish(Packet(where.topic(NODE_STATE, node=where.node), b"", retain=True))
    finally:
        shell.close()
    if isinstance(result, FedbusError):
        raise result
    return result


async def _served(shell: "Shell", bus: Bus, outcome: "asyncio.Future[R]") -> R:
    with one_error():
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(shell.serve(bus), name="serve")
            await outcome
            serving.cancel()
    return outcome.result()


def _client_id(where: Where) -> str:
    # Several commands may run at once with one account, so each has a client id of its own.
    return f"{where.node}-{secrets.token_hex(4)}"
