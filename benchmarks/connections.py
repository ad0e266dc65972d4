"""A service's shell over many connections: some are left, some break."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from fedbus.core import clock
from fedbus.core.actions import Action, Ask, WakeAt
from fedbus.core.events import Connected, Event
from fedbus.core.keys import Key
from fedbus.errors import BusError
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import BrokerAddress, Bus
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.runtime.shell import Shell
from fedbus.wire.documents import AgentFacts
from fedbus.wire.messages import ListModels
from fedbus.wire.topics import MODEL_LATEST, Topic

PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ModelsRequest(Key):
    """Request for the list of models."""


@dataclass(frozen=True, slots=True)
class LaterTimer(Key):
    """Timer that never matters."""


class Asking:
    """Retries the repository on every connection, as services do, and is told what is retained."""

    listens: tuple[Topic, ...] = (MODEL_LATEST,)

    def facts(self) -> AgentFacts | None:
        """It is no agent."""
        return None

    def progress(self) -> float:
        """It does no work."""
        return 0.0

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Ask when the bus is there."""
        if isinstance(event, Connected):
            yield Ask(ModelsRequest(), "repository.1", ListModels())
            yield WakeAt(LaterTimer(), now + 60)


async def reconnect(broker: BrokerAddress, count: int, chance: Random) -> None:
    """Connect so often, and serve until the first answer; every other connection breaks then."""
    identity = Identity(name=broker.username or "user.bench", incarnation=clock.incarnation())
    shell = Shell(Node(identity, Asking(), chance), threads=1)
    for number in range(count):
        try:
            await _connect(shell, broker, breaks=number % 2 == 0)
        except* (BusError, TimeoutError):
            pass  # it was to end
    shell.close()


async def _connect(shell: Shell, broker: BrokerAddress, *, breaks: bool) -> None:
    node = shell.node
    async with (
        asyncio.timeout(PATIENCE_SECONDS) as patience,
        mqtt.connect(
            broker,
            name=node.identity.name,
            listen=node.subscriptions(),
            will=node.will_packet(),
            lend=True,
        ) as bus,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(_end(shell, bus if breaks else None, patience), name="end")
        await shell.serve(bus)


async def _end(shell: Shell, bus: Bus | None, patience: asyncio.Timeout) -> None:
    """Break a connection as a bad link does, or have it left, once something has come."""
    before = shell.traffic["received"][0]
    # The shell counts what it receives, and tells nobody.
    while shell.traffic["received"][0] == before:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    if bus is None:
        patience.reschedule(0.0)
    else:
        bus._connection._paho.socket().shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]  # noqa: SLF001
