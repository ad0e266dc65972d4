"""Shell of a service over many connections, half of which break."""

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
    """Key of the request for the list of models."""


@dataclass(frozen=True, slots=True)
class LaterTimer(Key):
    """Key of a timer that is replaced before it fires."""


class Asking:
    """A core that asks the repository on each connection, and receives retained messages."""

    listens: tuple[Topic, ...] = (MODEL_LATEST,)

    def facts(self) -> AgentFacts | None:
        """Return None: it is no agent."""
        return None

    def progress(self) -> float:
        """Return 0: it has no task."""
        return 0.0

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Ask on each connection."""
        if isinstance(event, Connected):
            yield Ask(ModelsRequest(), "repository.1", ListModels())
            yield WakeAt(LaterTimer(), now + 60)


async def reconnect(broker: BrokerAddress, count: int, chance: Random) -> None:
    """Connect `count` times until the first answer; break every other connection."""
    identity = Identity(name=broker.username or "user.bench", incarnation=clock.incarnation())
    shell = Shell(Node(identity, Asking(), chance), threads=1)
    for number in range(count):
        try:
            await _connect(shell, broker, breaks=number % 2 == 0)
        except* (BusError, TimeoutError):
            pass  # the connection was ended on purpose
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
    """Break the connection, or leave it, after the first message."""
    before = shell.traffic["received"][0]
    # The shell counts received messages, and sends no signal of them.
    while shell.traffic["received"][0] == before:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    if bus is None:
        patience.reschedule(0.0)
    else:
        bus._connection._paho.socket().shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]  # noqa: SLF001
