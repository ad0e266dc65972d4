"""Harness of an inference core: a repository, threads and a clock that the test controls."""

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fedbus.core.actions import Action, Ask, Cancel, Deliver, Fetch, Note, Reply, Run, Send, WakeAt
from fedbus.core.events import (
    Event,
    Fetched,
    FetchFailed,
    Local,
    Ran,
    Received,
    ReplyTo,
    Requested,
    RunFailed,
    Woke,
)
from fedbus.core.keys import Key
from fedbus.errors import RequestRefusalKind
from fedbus.model.blob import decode, encode
from fedbus.model.blob_header import Blob
from fedbus.model.layout import Array, Layout
from fedbus.training.params import Architecture
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, ModelRef, blob_ref_of
from fedbus.wire.documents import ModelAliases, ModelLatest, ModelSpec, TensorSpec
from fedbus.wire.messages import KeptVersion, ModelShown
from fedbus.wire.refusals import refusal_of_request
from fedbus.wire.topics import INFERENCE
from fedbus_inference.core import InferenceCore
from fedbus_inference.last_good import LastGood
from fedbus_inference.loading import Runtime
from fedbus_inference.local_requests import LocalPrediction, PredictionOutcome
from fedbus_inference.served_version import Predictor
from fedbus_inference.settings import InferenceSettings

FAULTY = 13.0
"""A row that starts with it makes the model fail."""

REPLY = ReplyTo("fedbus/v1/replies/me", b"7", None)
LAYOUT = Layout.of({"bias": np.zeros(1, np.float32)})


def weights(bias: float) -> bytes:
    """The weights of `Sums`: what it adds to the sum of each row."""
    return bytes(encode({"bias": np.array([bias], np.float32)}, LAYOUT))


def spec(**changes: object) -> bytes:
    """A spec for rows of three numbers; `changes` replace its fields."""
    stated: dict[str, Any] = {
        "model": "sum",
        "layout": (TensorSpec(name="bias", shape=(1,), dtype="float32"),),
        "architectures": {"sums": {}},
        "input": {"shape": [3], "dtype": "float32"},
    }
    return codec.to_json(ModelSpec(**(stated | changes)))


class Sums:
    """Adds up each row, and the bias; counts the batches it was given."""

    def __init__(self, bias: float, architecture: Architecture) -> None:
        self.bias = bias
        self.architecture = architecture
        self.batches: list[int] = []
        self.fault = FAULTY

    def predict(self, inputs: Array) -> Array:
        self.batches.append(len(inputs))
        if (inputs[:, 0] == self.fault).any():
            raise ValueError("thirteen")
        totals: Array = inputs.sum(axis=1, keepdims=True)
        return totals + np.float32(self.bias)


def load_sums(
    _: str, spec: ModelSpec, architecture: Architecture, blob: Blob, _spare: Predictor | None = None
) -> Sums:
    """Load a version of the model."""
    bias = decode(blob, Layout.read(spec.layout))["bias"]
    return Sums(float(bias[0]), architecture)


@dataclass(frozen=True)
class Bytes:
    """A blob in memory, to be served."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int, /) -> bytes:
        return self.data[offset : offset + length]


@dataclass
class Harness:
    """Passes a core events, and performs its actions when the test asks for it."""

    frameworks: tuple[str, ...] = ("sums",)
    settings: InferenceSettings = field(default_factory=InferenceSettings)
    blobs: dict[str, bytes] = field(default_factory=dict)
    replies: list[Reply] = field(default_factory=list)
    outcomes: list[PredictionOutcome] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    runs: deque[Run] = field(default_factory=deque)
    fetches: dict[Key, Fetch] = field(default_factory=dict)
    timers: dict[Key, float] = field(default_factory=dict)
    sent: list[Send] = field(default_factory=list)
    asks: dict[Key, Ask] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    loaded: list[Sums] = field(default_factory=list)
    reloaded: int = 0
    requests: int = 0
    last_good: LastGood | None = None
    clock: Callable[[], float] = lambda: 0.0
    now: float = 0.0

    def __post_init__(self) -> None:
        self.core = InferenceCore(
            Runtime(self.frameworks, self._load_model), self.settings, self.last_good, self.clock
        )

    def _load_model(
        self,
        framework: str,
        spec: ModelSpec,
        architecture: Architecture,
        weights: Blob,
        spare: Predictor | None,
    ) -> Sums:
        sums = load_sums(framework, spec, architecture, weights)
        if isinstance(spare, Sums):
            self.reloaded += 1
            spare.bias = sums.bias
            return spare
        self.loaded.append(sums)
        return sums

    # ── what the test does ─────────────────────────────────────────────────────────────────────

    def handle(self, event: Event) -> None:
        for action in self.core.handle(event, self.now):
            self._perform(action)

    def store(self, data: bytes) -> BlobRef:
        """Put a blob into the repository."""
        blob_ref = blob_ref_of(data)
        self.blobs[blob_ref.digest] = data
        return blob_ref

    def announce(self, version: int, *, model: str = "sum", **changes: object) -> ModelLatest:
        """Store a version whose bias is its number, and announce it."""
        held = self.store(weights(version))
        stated: dict[str, Any] = {
            "model": model,
            "version": version,
            "digest": held.digest,
            "size": held.size,
            "spec": changes.pop("spec", None) or self.store(spec()),
            "source": "repository.1",
            "metrics": {},
            "parent": None,
            "job": None,
            "round": version,
        }
        latest = ModelLatest(**(stated | changes))
        self.handle(Received("", latest))
        return latest

    def version(
        self,
        number: int,
        *,
        model: str = "sum",
        stated: BlobRef | None = None,
        stored: BlobRef | None = None,
    ) -> ModelRef:
        """Store a version, and return it as the repository names it; `stored`: its weights."""
        return ModelRef(
            model=model,
            version=number,
            weights=stored or self.store(weights(number)),
            spec=stated or self.store(spec()),
            source="repository.1",
        )

    def alias(self, changes: int = 1, stated: BlobRef | None = None, **aliases: int) -> None:
        """Announce the aliases of a model."""
        named = {alias: self.version(number, stated=stated) for alias, number in aliases.items()}
        self.handle(Received("", ModelAliases(model="sum", aliases=named, changes=changes)))

    def show(
        self, number: int, *, kept: bool = True, stored: BlobRef | None = None, **tags: int
    ) -> None:
        """Answer the question which version was chosen."""
        versions = (KeptVersion(version=number, why="newest"),) if kept else ()
        shown = ModelShown(
            version=self.version(number, stored=stored), history=(), kept=versions, tags=tags
        )
        self.handle(Received("repository.1", shown))

    def refuse(self, reason: str, kind: RequestRefusalKind = "conflict") -> None:
        """Refuse the only request that is open at the repository."""
        (asked,) = self.asks.values()
        self.handle(Received(asked.to, refusal_of_request(asked.message, "sum", reason, kind)))

    def serve(self, version: int = 1, *, model: str = "sum", **changes: object) -> None:
        """Announce a version and load it."""
        self.announce(version, model=model, **changes)
        self.settle()

    def ask(
        self,
        inputs: object = (1, 2, 3),
        *,
        model: str = "sum",
        payload: bytes | None = None,
        content_type: str | None = None,
        reply: ReplyTo | None = REPLY,
    ) -> None:
        """Publish a request, by default with correlation data of its own."""
        self.requests += 1
        if reply is REPLY:
            reply = replace(REPLY, correlation=b"%d" % self.requests)
        data = json.dumps({"inputs": inputs}).encode() if payload is None else payload
        self.handle(Requested(INFERENCE, {"model": model}, data, content_type, reply))

    def predict(self, inputs: Mapping[str, Array] | None = None, **changes: object) -> None:
        """Pass a request of this process's own servers."""
        stated: dict[str, Any] = {"model": "sum", "deliver": self.outcomes.append}
        self.handle(Local(LocalPrediction(**(stated | {"inputs": inputs} | changes))))

    def fetch(self) -> bool:
        """Deliver one blob; False: none is being fetched."""
        for key in list(self.fetches):
            fetch = self.fetches.pop(key)
            blob_ref = fetch.location.blob_ref
            self.fetched.append(blob_ref.digest)
            data = self.blobs.get(blob_ref.digest)
            if data is None:
                self.handle(FetchFailed(key, "repository.1 does not hold it"))
            else:
                fetch.sink.write(0, data[: blob_ref.size])
                self.handle(Fetched(key, fetch.sink))
            return True
        return False

    def run(self, kind: type[Key] = Key) -> bool:
        """Run one call, with a key of this kind or of any; False: there is none."""
        run = next((run for run in self.runs if isinstance(run.key, kind)), None)
        if run is None:
            return False
        self.runs.remove(run)
        try:
            result = run.call()
        except Exception as error:  # noqa: BLE001 - as a shell reports any error of a thread
            self.handle(RunFailed(run.key, error))
        else:
            self.handle(Ran(run.key, result))
        return True

    def fail(self, key: Key, error: Exception) -> None:
        """Report that a call raised."""
        self.handle(RunFailed(key, error))

    def settle(self) -> None:
        """Deliver all blobs and run all calls."""
        while self.fetch() or self.run():
            pass

    def wait(self, seconds: float) -> None:
        """Move the clock forward, and fire the timers that are due."""
        self.now += seconds
        for key, at in list(self.timers.items()):
            if at <= self.now:
                del self.timers[key]
                self.handle(Woke(key))

    # ── what the test looks at ─────────────────────────────────────────────────────────────────

    def answers(self) -> list[dict[str, Any]]:
        """Return and clear the JSON answers, in order."""
        taken = [json.loads(reply.payload) for reply in self.replies]
        self.replies.clear()
        return taken

    def answer(self) -> dict[str, Any]:
        """Return and clear the only answer."""
        (only,) = self.answers()
        return only

    def noted(self, event: str) -> list[dict[str, Any]]:
        return [note.facts for note in self.notes if note.event == event]

    def _perform(self, action: Action) -> None:
        match action:
            case Reply():
                self.replies.append(action)
            case Send():
                self.sent.append(action)
            case Ask():
                self.asks[action.key] = action
            case Deliver(to, result):
                to(result)
            case Note():
                self.notes.append(action)
            case Run():
                self.runs.append(action)
            case Fetch():
                self.fetches[action.key] = action
            case WakeAt():
                self.timers[action.key] = action.at
            case Cancel():
                self.fetches.pop(action.key, None)
                self.asks.pop(action.key, None)
                self.timers.pop(action.key, None)
            case _:
                raise AssertionError(f"an inference core has no use for {action}")
