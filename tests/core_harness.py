"""Test harness for a core: keeps what a node would keep, with no bytes, threads or clock."""

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


class CoreHarness:
    """Passes events to a core and records its actions.

    Attributes:
        asks: The asks that are repeated, by key.
        timers: The time of each timer, by key.
        fetches: The downloads in progress, by key.
        runs: The calls that wait for a thread, oldest first.
        served: The blobs that other nodes can fetch, by digest.
        readers: The nodes that can fetch each of them; None: any.
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
        self.readers: dict[str, frozenset[str] | None] = {}
        self.notes: list[Note] = []
        self.last: list[Action] = []

    def handle(self, event: Event) -> list[Action]:
        """Pass an event to the core, and return the actions."""
        self.last = []
        for action in self.core.handle(event, self.now):
            self.last.append(action)
            self._keep(action)
        return self.last

    def receive(self, sender: str, message: object) -> list[Action]:
        """Pass a received message to the core, and return the actions."""
        return self.handle(Received(sender, message))

    def wait(self, seconds: float) -> None:
        """Advance the time, and fire each timer that becomes due."""
        end = self.now + seconds
        while self.timers and min(self.timers.values()) <= end:
            key = min(self.timers, key=self.timers.__getitem__)
            self.now = max(self.now, self.timers.pop(key))
            self.handle(Woke(key))
        self.now = end

    def run_calls(self) -> None:
        """Run the calls that wait for a thread, until none is left."""
        while self.runs:
            run = self.runs.pop(0)
            try:
                result = run.call()
            except Exception as error:  # noqa: BLE001 - as a worker thread does
                self.handle(RunFailed(run.key, error))
            else:
                self.handle(Ran(run.key, result))

    def complete_fetch(self, key: Key, data: bytes) -> list[Action]:
        """Complete a download with these bytes, and return the actions."""
        fetch = self.fetches.pop(key)
        fetch.sink.write(0, data)
        return self.handle(Fetched(key, fetch.sink))

    def fail_fetch(self, key: Key) -> list[Action]:
        """Fail a download, and return the actions."""
        del self.fetches[key]
        return self.handle(FetchFailed(key, "its source is gone"))

    def sent(self, kind: type[M]) -> list[M]:
        """List the messages of a kind that the last event sent, asked or announced."""
        return [
            action.message
            for action in self.last
            if isinstance(action, Send | Ask | Announce) and isinstance(action.message, kind)
        ]

    def sent_to(self, to: str, kind: type[M]) -> M:
        """Return the only message of a kind that the last event sent to a node, or asks of it."""
        (found,) = (
            action.message
            for action in self.last
            if isinstance(action, Send | Ask)
            and action.to == to
            and isinstance(action.message, kind)
        )
        return found

    def asked(self, key: Key, kind: type[M]) -> M:
        """Return the message that is asked under a key."""
        message = self.asks[key].message
        assert isinstance(message, kind)
        return message

    def replies(self) -> list[Reply]:
        """List the replies to foreign clients that the last event caused."""
        return [action for action in self.last if isinstance(action, Reply)]

    def noted(self, event: str) -> list[dict[str, Any]]:
        """List the fields of each log entry with this event name."""
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
            case Serve(digest, source, readers):
                self.served[digest] = source
                self.readers[digest] = readers
            case Unserve(digest):
                self.served.pop(digest, None)
                self.readers.pop(digest, None)
            case Note():
                self.notes.append(action)
            case _:
                pass
