"""A core, driven by hand: what a node and a shell would do, with no bytes, threads or clock."""

from typing import TYPE_CHECKING, Any, TypeVar

from fedbus.core.actions import (
    Action,
    Announce,
    Ask,
    Cancel,
    Fetch,
    Note,
    Reply,
    Run,
    Send,
    Serve,
    Unserve,
    WakeAt,
)
from fedbus.core.events import Event, Fetched, FetchFailed, Ran, Received, RunFailed, Woke
from fedbus.core.interface import Core
from fedbus.core.keys import Key

if TYPE_CHECKING:
    from fedbus.core.blob_io import BlobSource

M = TypeVar("M")


class Driven:
    """Feeds events to a core and keeps what its node would keep.

    Attributes:
        asks: What is asked and not cancelled, by key.
        timers: When it wants to be woken, by key.
        fetches: What is on its way, by key.
        runs: What threads have to do, oldest first.
        served: What others may fetch, by digest.
        last: The actions of the last event.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.now = 100.0
        self.asks: dict[Key, Ask] = {}
        self.timers: dict[Key, float] = {}
        self.fetches: dict[Key, Fetch] = {}
        self.runs: list[Run] = []
        self.served: dict[str, BlobSource] = {}
        self.notes: list[Note] = []
        self.last: list[Action] = []

    def tell(self, event: Event) -> list[Action]:
        """Let something happen; returns what the core does about it."""
        self.last = []
        for action in self.core.handle(event, self.now):
            self.last.append(action)
            self._keep(action)
        return self.last

    def hear(self, sender: str, message: object) -> list[Action]:
        """Let a message arrive."""
        return self.tell(Received(sender, message))

    def wait(self, seconds: float) -> None:
        """Let time pass, waking the core whenever it wanted to be."""
        end = self.now + seconds
        while self.timers and min(self.timers.values()) <= end:
            key = min(self.timers, key=self.timers.__getitem__)
            self.now = max(self.now, self.timers.pop(key))
            self.tell(Woke(key))
        self.now = end

    def work(self) -> None:
        """Do what threads have to do, until there is nothing more."""
        while self.runs:
            run = self.runs.pop(0)
            try:
                result = run.call()
            except Exception as error:  # noqa: BLE001 - as a worker thread does
                self.tell(RunFailed(run.key, error))
            else:
                self.tell(Ran(run.key, result))

    def arrive(self, key: Key, data: bytes) -> list[Action]:
        """Let a blob arrive that is being fetched."""
        fetch = self.fetches.pop(key)
        fetch.sink.write(0, data)
        return self.tell(Fetched(key, fetch.sink))

    def lose(self, key: Key) -> list[Action]:
        """Let a blob not arrive."""
        del self.fetches[key]
        return self.tell(FetchFailed(key, "its source is gone"))

    def said(self, kind: type[M]) -> list[M]:
        """List the messages of a kind that the last event led to, asked or sent once."""
        return [
            action.message
            for action in self.last
            if isinstance(action, Send | Ask | Announce) and isinstance(action.message, kind)
        ]

    def told(self, to: str, kind: type[M]) -> M:
        """Find the one message of a kind that a node was sent, or is asked, by the last event."""
        (found,) = (
            action.message
            for action in self.last
            if isinstance(action, Send | Ask)
            and action.to == to
            and isinstance(action.message, kind)
        )
        return found

    def asked(self, key: Key, kind: type[M]) -> M:
        """Find what is asked under a key."""
        message = self.asks[key].message
        assert isinstance(message, kind)
        return message

    def replies(self) -> list[Reply]:
        """List the answers to foreign clients that the last event led to."""
        return [action for action in self.last if isinstance(action, Reply)]

    def noted(self, event: str) -> list[dict[str, Any]]:
        """List the facts of what was noted under a name."""
        return [note.facts for note in self.notes if note.event == event]

    def _keep(self, action: Action) -> None:
        match action:
            case Ask(key):
                self.asks[key] = action
            case WakeAt(key, at):
                self.timers[key] = at
            case Fetch(key):
                self.fetches[key] = action
            case Cancel(key):
                self.asks.pop(key, None)
                self.timers.pop(key, None)
                self.fetches.pop(key, None)
            case Run():
                self.runs.append(action)
            case Serve(digest, source):
                self.served[digest] = source
            case Unserve(digest):
                self.served.pop(digest, None)
            case Note():
                self.notes.append(action)
            case _:
                pass
