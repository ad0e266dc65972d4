"""Core that serves untrained versions of the digits, in place of a repository."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import fedbus
from fedbus.core.actions import Action, Announce, Serve, WakeAt
from fedbus.core.events import Connected, Event, Woke
from fedbus.core.keys import Key
from fedbus.digest import digest_of
from fedbus.model.blob import encode
from fedbus.model.layout import Layout
from fedbus.mqtt.bus import BrokerAddress
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.runtime.reconnection import keep_connected
from fedbus.runtime.shell import Shell
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import AgentFacts, ModelLatest, ModelSpec
from fedbus.wire.topics import MODEL_LATEST, Topic

DEMO = Path(str(fedbus.__file__)).parent / "demo_data"


@dataclass(frozen=True)
class Bytes:
    """A blob in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """The size in bytes."""
        return len(self.data)

    def read(self, offset: int, length: int, /) -> bytes:
        """Return a slice of the bytes."""
        return self.data[offset : offset + length]


@dataclass(frozen=True, slots=True)
class NextVersion(Key):
    """Timer of the next version."""


class Repository:
    """The part of a repository that an inference service uses, with the digits.

    Args:
        first: The first version's number.
        every: Seconds from one version to the next; None: there is no other.
    """

    listens: tuple[Topic, ...] = ()

    def __init__(self, first: int = 1, every: float | None = None) -> None:
        self._version = first
        self._every = every

    def facts(self) -> AgentFacts | None:
        """Return None: it is no agent."""
        return None

    def progress(self) -> float:
        """Return 0: it has no task."""
        return 0.0

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Serve a version's blobs and announce it, on each connection and when it is time."""
        if isinstance(event, Woke):
            self._version += 1
        elif not isinstance(event, Connected):
            return
        if self._every is not None:
            yield WakeAt(NextVersion(), now + self._every)
        spec = DEMO.joinpath("model.json").read_bytes()
        layout = Layout.read(codec.from_json(ModelSpec, spec).layout)
        rng = np.random.default_rng(self._version)
        spread = {t.name: rng.normal(0, 0.1, t.shape).astype(t.dtype) for t in layout.tensors}
        weights = bytes(encode(spread, layout))
        for blob in (spec, weights, DEMO.joinpath("digits.tflite").read_bytes()):
            yield Serve(digest_of(blob), Bytes(blob))
        latest = ModelLatest(
            model="digits",
            version=self._version,
            digest=digest_of(weights),
            size=len(weights),
            spec=BlobRef(digest=digest_of(spec), size=len(spec)),
            source="repository.bench",
            metrics={},
            parent=None,
            job=None,
            round=0,
        )
        yield Announce(MODEL_LATEST, latest)


@asynccontextmanager
async def repository(
    broker: BrokerAddress, first: int = 1, every: float | None = None
) -> AsyncIterator[None]:
    """Serve the model in this block; see `Repository`."""
    chance = random.Random(7)
    identity = Identity(name="repository.bench", incarnation=1)
    shell = Shell(Node(identity, Repository(first, every), chance), threads=1)
    serving = asyncio.create_task(keep_connected(shell, broker, chance), name="repository")
    try:
        yield
    finally:
        serving.cancel()
        shell.close()
