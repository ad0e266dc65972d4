"""Interface of a core, and the names of its steps."""

from collections.abc import Iterator
from typing import Protocol

from fedbus.core.actions import Action, Ask, Fetch, Run, Send
from fedbus.core.events import Event, Fetched, Ran, Received, RunFailed
from fedbus.wire.documents import AgentFacts
from fedbus.wire.topics import Topic


class Core(Protocol):
    """The decisions of a service, without clock, threads and broker.

    Only `handle` has no default: most services receive no public topic, announce no facts and run
    no task.
    """

    @property
    def listens(self) -> tuple[Topic, ...]:
        """Public topics whose messages the core receives."""
        return ()

    def facts(self) -> AgentFacts | None:
        """Return what an agent announces of itself; None for every other role."""
        return None

    def progress(self) -> float:
        """Return the progress of the running task, 0 to 1."""
        return 0.0

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Map an event to actions, without waiting; never raise on what another node sent."""


def step_name(step: Event | Action) -> str:
    """Return the name of a step for fault tests: `send:Commit`, `received:Offer`, `run:FoldRun`."""
    match step:
        case Received(_, message) | Send(_, message) | Ask(_, _, message):
            verb = "received" if isinstance(step, Received) else "send"
            return f"{verb}:{type(message).__name__}"
        case Run(key) | Ran(key) | RunFailed(key) | Fetch(key) | Fetched(key):
            return f"{type(step).__name__.lower()}:{key.name}"
        case _:
            return type(step).__name__.lower()
