"""Blobs, plans and records for tests, and a harness of the core whose threads the test controls."""

import json
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from fedbus.core.actions import (
    Action,
    Announce,
    AnnounceEncryptionKey,
    Cancel,
    Fetch,
    Note,
    Run,
    Send,
    Trouble,
    WakeAt,
)
from fedbus.core.events import Connected, Event, Fetched, FetchFailed, Ran, Received, RunFailed
from fedbus.core.keys import Key
from fedbus.model.blob import encode
from fedbus.model.layout import Layout
from fedbus.model.sections import state_layout
from fedbus.privacy.budget import spent_of
from fedbus.privacy.ledger import planned_composition
from fedbus.privacy.ledger_entries import entry_of_round
from fedbus.training.params import PluginChoice
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, ModelRef, blob_ref_of
from fedbus.wire.documents import ModelAliases, ModelLatest, ModelSpec, TensorSpec
from fedbus.wire.messages import PushModel
from fedbus.wire.privacy import LedgerEntry, PrivacySpent, PrivacyTerms
from fedbus.wire.round_records import Contributor, Plan, RoundRecord
from fedbus.wire.strategies import Strategy, StrategyState
from fedbus_repository.core import RepositoryCore
from fedbus_repository.stores.base import Store, Upload
from fedbus_repository.stores.ledger_records import RecordedNoise
from fedbus_repository.stores.records import HistoryEntry, StoredJob, Version
from tests.fedbus.privacy.contributors import contributors_of

MODEL, JOB = "digits", "digits-1"
REPOSITORY, CONTROLLER, COLLECTOR = "repository.1", "controller.1", "collector.1"
USER = "user.cli"
AT = "2026-11-29T08:53:28.120Z"
"""The time of the fake clock."""
AGENTS = ("agent.a", "agent.b", "agent.c")
LAYOUT = Layout.of({"bias": np.zeros(3, np.float32), "weight": np.zeros((2, 3), np.float32)})
FEDAVG = Strategy(id="fedavg", aggregator=PluginChoice(id="mean"))
FEDAVGM = Strategy(
    id="fedavgm",
    aggregator=PluginChoice(id="mean"),
    server_optimizer=PluginChoice(id="momentum", parameters={"server_momentum": 0.9}),
    state=("momentum",),
)
"""A strategy that keeps arrays with each version."""
TERMS = PrivacyTerms(
    mechanism="dp-fixed", release="gaussian", noise_multiplier=2.0, delta=1e-5, cohort=3
)
PRIVATE = replace(
    FEDAVG,
    update_transforms=(PluginChoice(id="dp-fixed", parameters={"clipping_norm": 1.0}),),
    privacy=TERMS,
)
"""A strategy whose collector draws noise."""
KEY = "a" * 64
"""Digest of the key that collectors draw noise with."""
FILE = b"the architecture of a model, as some framework reads it"


def weights(value: float) -> bytes:
    """Weights that all have one value."""
    arrays = {"bias": np.full(3, value, np.float32), "weight": np.full((2, 3), value, np.float32)}
    return bytes(encode(arrays, LAYOUT))


def update(value: float) -> bytes:
    """A delta of one value."""
    arrays = {"bias": np.full(3, value, np.float32), "weight": np.full((2, 3), value, np.float32)}
    return bytes(encode(arrays, LAYOUT, "delta"))


def momentum(value: float, names: Sequence[str] = FEDAVGM.state) -> bytes:
    """Arrays of a strategy's state that all have one value."""
    layout = state_layout(LAYOUT, names)
    arrays = {each.name: np.full(each.shape, value, np.float32) for each in layout.tensors}
    return bytes(encode(arrays, layout))


def state_after(rounds: int, content: bytes | None = None) -> StrategyState:
    """What a strategy keeps after a round."""
    arrays = None if content is None else blob_ref_of(content)
    return StrategyState(rounds=rounds, arrays=arrays)


def spec(**changes: object) -> bytes:
    """A spec for `weights`, with a file; `changes` replace its fields."""
    stated: dict[str, Any] = {
        "model": MODEL,
        "layout": tuple(
            TensorSpec(name=tensor.name, shape=tensor.shape, dtype=tensor.dtype)
            for tensor in LAYOUT.tensors
        ),
        "architectures": {"own": {"blob": plain(blob_ref_of(FILE))}, "torch": {"name": "mlp"}},
    }
    return codec.to_json(ModelSpec(**(stated | changes)))


def plain(blob_ref: BlobRef) -> dict[str, object]:
    """A blob_ref as a spec states it."""
    return {"digest": blob_ref.digest, "size": blob_ref.size}


class Receives(Protocol):
    """A store, or the folder of its blobs."""

    def upload(self, blob: BlobRef, /) -> Upload:
        """Reserve space for a blob."""


def put(store: Receives, content: bytes) -> BlobRef:
    """Keep a blob."""
    upload = store.upload(blob_ref_of(content))
    upload.write(0, content)
    upload.keep()
    return upload.blob_ref


def push_of(stated: BlobRef, blob: BlobRef, model: str = MODEL, **changes: Any) -> PushModel:  # noqa: ANN401 - fields of it
    """The message that pushes a model of this spec and these weights."""
    return PushModel(model=model, spec=stated, weights=blob, **changes)


def push(store: Store, value: float = 0.0, model: str = MODEL) -> Version:
    """Push a version."""
    stated, blob, file = put(store, spec(model=model)), put(store, weights(value)), put(store, FILE)
    version = store.push(push_of(stated, blob, model=model), (file,))
    assert isinstance(version, Version)
    return version


def begin(
    store: Store,
    job: str = JOB,
    model: str = MODEL,
    continued: Strategy | None = None,
    strategy: Strategy | None = None,
) -> StoredJob:
    """Push a model if there is none, and store a job for it."""
    if not any(version.model == model for version in store.latest()):
        push(store, model=model)
    stored = store.store_job(0, job, model, b"{}", continued=continued, strategy=strategy)
    assert isinstance(stored, StoredJob)
    return stored


def plan_of(job: StoredJob, task: int | None = None, **changes: object) -> Plan:
    """The next round of a job."""
    stated: dict[str, Any] = {
        "job": job.job,
        "round": job.rounds + 1,
        "task": task or (job.plan.task + 1 if job.plan else 1),
        "base": ref_of(job.latest),
        "collector": COLLECTOR,
        "cohort": AGENTS,
        "quorum": 1,
        "deadline_seconds": 60.0,
        "state": job.state,
        "noise_key": KEY if job.terms is not None and job.terms.noise == "collector" else None,
    }
    return Plan(**(stated | changes))


def ref_of(version: Version, source: str = REPOSITORY) -> ModelRef:
    """Return the reference to a version."""
    return ModelRef(
        model=version.model,
        version=version.version,
        weights=version.weights,
        spec=version.spec,
        source=source,
        encryption=version.encryption,
        thin=version.thin,
    )


def record_of(plan: Plan, agents: Sequence[str] = AGENTS, **changes: object) -> RoundRecord:
    """A round as its collector would record it."""
    stated: dict[str, Any] = {
        "job": plan.job,
        "round": plan.round,
        "task": plan.task,
        "model": plan.base.model,
        "parent": plan.base.version,
        "spec": plan.base.spec,
        "strategy": FEDAVG,
        "contributors": tuple(contributor(agent, plan.task) for agent in agents),
        "refusals": (),
        "metrics": {"loss": 1.0},
        "seconds": {"collected": 0.5},
    }
    return RoundRecord(**(stated | changes))


def contributor(
    agent: str, task: int, content: bytes = b"", examples: int = 1, share: float = 0.5
) -> Contributor:
    """An update that counts with its share of the mean."""
    return Contributor(
        agent=agent,
        task=task,
        examples=examples,
        update=blob_ref_of(content).digest,
        metrics={},
        coefficient=share,
    )


def spent_with(terms: PrivacyTerms = TERMS, entries: int = 1, **changes: object) -> PrivacySpent:
    """What a job has spent after entries in all of which one agent took part.

    `changes` replace its fields.
    """
    spent = spent_of(terms, planned_composition(terms, entries, entries), ())
    return replace(spent, **changes)  # type: ignore[arg-type]  # any of its fields


def load(store: Store, job: str = JOB) -> StoredJob:
    """Load a job that exists."""
    found = store.load_job(2**52, job)
    assert isinstance(found, StoredJob)
    return found


def plan_next(store: Store, job: str = JOB) -> Plan:
    """Plan a job's next round."""
    plan = plan_of(load(store, job))
    assert store.store_plan(2**52, plan) == plan
    return plan


def commit_next(store: Store, value: float, job: str = JOB, **changes: Any) -> HistoryEntry:  # noqa: ANN401 - fields of a record
    """Plan and commit a job's next round; `changes` replace fields of its record."""
    record = record_of(plan_next(store, job), **changes)
    done = store.commit(record, put(store, weights(value)))
    assert isinstance(done, HistoryEntry)
    return done


def commit_state(store: Store, value: float, job: str = JOB) -> HistoryEntry:
    """Plan and commit a job's next round, with arrays of its strategy's state."""
    plan = plan_next(store, job)
    rounds = 1 if plan.state is None else plan.state.rounds + 1
    kept = state_after(rounds, momentum(value))
    put(store, momentum(value))
    record = record_of(plan, strategy=FEDAVGM, state=kept)
    done = store.commit(record, put(store, weights(value)))
    assert isinstance(done, HistoryEntry)
    return done


def entry_for(
    plan: Plan, agents: Sequence[str] = AGENTS, terms: PrivacyTerms = TERMS
) -> LedgerEntry:
    """The ledger entry of the updates that `record_of` combines."""
    updates = {agent: blob_ref_of(b"").digest for agent in agents}
    return entry_of_round(plan, terms, contributors_of(updates))


def commit_private(
    store: Store, value: float, job: str = JOB, agents: Sequence[str] = AGENTS
) -> HistoryEntry:
    """Plan a round of a private job, store its ledger entry, and commit it."""
    plan = plan_next(store, job)
    private = load(store, job).private
    assert private is not None
    assert private.privacy is not None
    noise = store.record_noise(entry_for(plan, agents, private.privacy))
    assert isinstance(noise, RecordedNoise)
    record = record_of(plan, agents, strategy=private, privacy=noise.spent)
    done = store.commit(record, put(store, weights(value)))
    assert isinstance(done, HistoryEntry)
    return done


@dataclass
class Harness:
    """Records a core's actions; its calls run when the test asks for it.

    Attributes:
        sent: Messages that it sent, oldest first, as (to, message).
        latest: Its announcements.
        notes: Its log events.
        fetching: Its fetches, by key.
        served: Blobs that other nodes serve.
        timers: Times of its timers, by key.
        trouble: The trouble that it reported last.
        encryption_key: The id of the encryption key that it announced; "" if it has none.
    """

    core: RepositoryCore
    now: float = 100.0
    sent: list[tuple[str, Any]] = field(default_factory=list)
    latest: list[ModelLatest] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    fetching: dict[Key, Fetch] = field(default_factory=dict)
    served: dict[str, bytes] = field(default_factory=dict)
    runs: deque[Run] = field(default_factory=deque)
    timers: dict[Key, float] = field(default_factory=dict)
    aliases: list[ModelAliases] = field(default_factory=list)
    trouble: str = ""
    encryption_key: str = ""

    def serve(self, *contents: bytes) -> None:
        """Serve blobs."""
        self.served |= {blob_ref_of(content).digest: content for content in contents}

    def connect(self) -> None:
        """Connect the core to the bus."""
        self.handle(Connected())
        self.run_all()

    def receive(self, sender: str, message: object) -> list[Any]:
        """Pass the core a message, run its calls, and return the messages that it sends."""
        before = len(self.sent)
        self.handle(Received(sender, message))
        self.run_all()
        return [message for _, message in self.sent[before:]]

    def handle(self, event: Event) -> None:
        """Pass the core an event, and record its actions."""
        self._perform(self.core.handle(event, self.now))

    def run_all(self) -> None:
        """Run calls and deliver blobs until nothing is left."""
        while self.runs or self._arrived():
            while self.runs:
                self.run_next()
            for key in self._arrived():
                self.deliver(key)

    def run_next(self) -> None:
        """Run the oldest call."""
        call = self.runs.popleft()
        try:
            result = call.call()
        except Exception as error:  # noqa: BLE001 - as a worker thread does
            self.handle(RunFailed(call.key, error))
        else:
            self.handle(Ran(call.key, result))

    def deliver(self, key: Key, content: bytes | None = None) -> None:
        """Deliver a blob, or other bytes instead."""
        fetch = self.fetching.pop(key)
        data = self.served[fetch.location.blob_ref.digest] if content is None else content
        fetch.sink.write(0, data)
        self.handle(Fetched(key, fetch.sink))

    def fail_fetch(self, key: Key, reason: str = "it is gone") -> None:
        """Report that a blob will not arrive."""
        del self.fetching[key]
        self.handle(FetchFailed(key, reason))

    def _arrived(self) -> list[Key]:
        return [k for k, f in self.fetching.items() if f.location.blob_ref.digest in self.served]

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Send(to, message):
                    self.sent.append((to, codec.unpack(type(message), codec.pack(message))))
                case Announce(_, ModelAliases() as message):
                    self.aliases.append(codec.from_json(ModelAliases, codec.to_json(message)))
                case Announce(_, message):
                    self.latest.append(codec.from_json(ModelLatest, codec.to_json(message)))
                case Note():
                    self.notes.append(Note(action.event, json.loads(json.dumps(action.facts))))
                case Run():
                    self.runs.append(action)
                case Trouble(sentence):
                    self.trouble = sentence
                case AnnounceEncryptionKey(key):
                    self.encryption_key = key
                case Fetch(key):
                    self.fetching[key] = action
                case Cancel(key):
                    self.fetching.pop(key, None)
                case WakeAt(key, at):
                    self.timers[key] = at
                case _:
                    raise AssertionError(action)
