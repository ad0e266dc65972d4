"""Public documents: JSON that people and foreign clients read; the topic table says which stay."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fedbus.limits import (
    MAX_CLASS_NAMES,
    MAX_DIMENSIONS,
    MAX_FAULTS_SENT,
    MAX_STRUCTURES,
    MAX_TENSOR_NAME_CHARACTERS,
    MAX_TENSORS,
    MAX_TEXT_CHARACTERS,
)
from fedbus.scalars import Bounds, Flag, Ident, Number, Strict, Text, Whole, Word
from fedbus.wire.blobs import BlobRef
from fedbus.wire.identifiers import Digest, Metrics, NodeName, Timestamp
from fedbus.wire.output_kinds import OutputKind

PROTOCOL = 1
"""Raised when a peer of the version before could no longer be understood."""


JobPhase = Literal["accepted", "running", "finished", "failed", "cancelled"]
ENDED_PHASES: frozenset[str] = frozenset({"finished", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFacts:
    """What an agent can do, and on what: announced so that the controller can choose.

    `trainers`, `loaders` and `transforms` are those a job may choose, none if it does not say;
    `trouble` is why it takes no tasks.
    """

    roles: tuple[Literal["train", "evaluate"], ...]
    examples: Whole
    cores: Whole
    memory_mb: Whole
    storage_mb: Whole
    gpu: Flag
    frameworks: Annotated[dict[Ident, Text], Bounds(max_length=32)]
    models: Annotated[dict[Ident, Whole], Bounds(max_length=256)]
    format: Annotated[dict[str, Any], Bounds(max_length=32)]
    task: Text = ""
    trainers: Annotated[tuple[Ident, ...], Bounds(max_length=256)] = ()
    loaders: Annotated[tuple[Ident, ...], Bounds(max_length=256)] = ()
    transforms: Annotated[tuple[Ident, ...], Bounds(max_length=256)] = ()
    trouble: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A node is there, or (its last will) is not; `trouble` is what a person should look at."""

    node: NodeName
    incarnation: Whole
    online: Flag
    protocol: Whole = PROTOCOL
    version: Text = ""
    agent: AgentFacts | None = None
    trouble: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """A node lives; `progress` is that of its running task, 0 to 1."""

    incarnation: Whole
    load: Number
    memory_mb: Number
    progress: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """Where a job stands.

    `submitted` is when the repository stored it, `ended` when that stored its end, and `at` when
    the controller said this.
    """

    job: Ident
    model: Ident
    phase: JobPhase
    round: Whole
    num_rounds: Whole
    metrics: Metrics
    reason: Text
    version: Whole | None = None
    agents: Whole = 0
    submitted: Timestamp | None = None
    ended: Timestamp | None = None
    at: Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFault:
    """One fault of a job; `key` is its path in the job file, empty for the file itself."""

    key: Text
    problem: Text
    hint: Text = ""

    def __str__(self) -> str:
        """Format as a sentence: key, problem, hint."""
        sentence = f"{self.key or 'job file'}: {self.problem}"
        return f"{sentence}; {self.hint}" if self.hint else sentence

    def clipped(self) -> "JobFault":
        """Shorten to what a message may hold: a file may name a very long key."""
        most = MAX_TEXT_CHARACTERS
        return JobFault(key=self.key[:most], problem=self.problem[:most], hint=self.hint[:most])


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRequest:
    """A request about a job that the controller has refused: its file, or its cancellation."""

    job: Ident
    request: Literal["submit", "cancel"]
    faults: Annotated[tuple[JobFault, ...], Bounds(min_length=1, max_length=MAX_FAULTS_SENT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundState:
    """One finished round: `began` when its agents were asked, and told of `at` that time."""

    job: Ident
    round: Whole
    version: Whole
    contributors: tuple[NodeName, ...]
    refusals: dict[NodeName, Text]
    examples: Whole
    metrics: Metrics
    seconds: Metrics
    began: Timestamp | None = None
    at: Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLatest:
    """The newest committed version of a model, and when it was made."""

    model: Ident
    version: Whole
    digest: Digest
    size: Whole
    spec: BlobRef
    source: NodeName
    metrics: Metrics
    parent: Whole | None
    job: Ident | None
    round: Whole
    at: Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One named array of a model."""

    name: Annotated[str, Bounds(max_length=MAX_TENSOR_NAME_CHARACTERS)]
    shape: Annotated[tuple[Whole, ...], Bounds(max_length=MAX_DIMENSIONS)]
    dtype: Ident
    role: Literal["weight", "statistic", "local"] = "weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNeeds:
    """What of a model's spec decides which agents can train it: its frameworks, its input.

    `classes` are the names of its classes: the first of them, `count`, and a `digest` of all.
    `answers` is what its outputs mean.
    """

    architectures: Annotated[tuple[Ident, ...], Bounds(max_length=MAX_STRUCTURES)]
    input: Annotated[dict[str, Any], Bounds(max_length=32)] = field(default_factory=dict)
    classes: Annotated[dict[str, Any], Bounds(max_length=3)] = field(default_factory=dict)
    least_batch: Annotated[int, Strict(ge=1, lt=2**31)] = 1
    answers: OutputKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """How to read a model's weights and how each framework rebuilds its architecture.

    `architectures` maps a framework's name to what its adapter needs; a `{"blob": blob_ref}` in it
    names a file that the repository serves. Validated by the adapter, never executed. `answers`
    says what the outputs mean; None: nobody has said. `classes` names the classes (or the labels)
    in the order of the outputs; empty: they have no names. A batch of fewer rows than `least_batch`
    cannot be trained on.
    """

    model: Ident
    layout: Annotated[tuple[TensorSpec, ...], Bounds(min_length=1, max_length=MAX_TENSORS)]
    architectures: Annotated[dict[Ident, dict[str, Any]], Bounds(max_length=MAX_STRUCTURES)]
    input: dict[str, Any] = field(default_factory=dict)
    answers: OutputKind | None = None
    classes: Annotated[tuple[Word, ...], Bounds(max_length=MAX_CLASS_NAMES)] = ()
    least_batch: Annotated[int, Strict(ge=1, lt=2**31)] = 1
