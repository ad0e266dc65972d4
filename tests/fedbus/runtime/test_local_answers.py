"""Answers to requests of a process's own servers, which a shell delivers."""

import random
from collections.abc import Iterator

from fedbus.core.actions import Action, Deliver
from fedbus.core.events import Event, Local
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.runtime.shell import Shell
from fedbus.wire.documents import AgentFacts
from fedbus.wire.topics import Topic


class Doubling:
    """A core that answers each local request, a callable and a number, with twice the number."""

    listens: tuple[Topic, ...] = ()

    def facts(self) -> AgentFacts | None:
        return None

    def progress(self) -> float:
        return 0.0

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        assert now > 0
        if isinstance(event, Local):
            to, number = event.message
            yield Deliver(to, 2 * number)


async def test_a_client_that_fails_does_not_end_the_service() -> None:
    """Its answer is lost; the next client gets its own."""
    node = Node(Identity(name="agent.a", incarnation=1, version="0"), Doubling(), random.Random(1))
    shell = Shell(node, 1)
    received: list[int] = []

    def fail(_: int) -> None:
        raise ConnectionResetError("gone")

    shell.receive_local((fail, 1))
    shell.receive_local((received.append, 2))
    shell.close()
    assert received == [4]
