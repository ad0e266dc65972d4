"""Public documents, read as JSON by people and foreign clients."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fedbus.limits import (
    MAX_ALIASES,
    MAX_CLASS_NAMES,
    MAX_DIMENSIONS,
    MAX_FAULTS_SENT,
    MAX_STRUCTURES,
    MAX_TAGS,
    MAX_TENSOR_NAME_CHARACTERS,
    MAX_TENSORS,
    MAX_TEXT_CHARACTERS,
    MAX_TRANSFORMS,
)
from fedbus.scalars import Bounds, Flag, Ident, Number, Strict, Text, Whole, Word
from fedbus.wire.blobs import BlobRef, EncryptedVersion, ModelRef
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.identifiers import Digest, Metrics, NodeName, Timestamp
from fedbus.wire.output_kinds import OutputKind
from fedbus.wire.privacy import PrivacySpent
from fedbus.wire.round_traffic import RoundTraffic

PROTOCOL = 1
"""Protocol version: increased by a change that nodes of the earlier version cannot read."""


JobPhase = Literal["accepted", "running", "finished", "failed", "cancelled"]
EndPhase = Literal["finished", "failed", "cancelled"]
ENDED_PHASES: frozenset[str] = frozenset({"finished", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFacts:
    """Capabilities and data of an agent, announced for the selection of cohorts.

    `trainers`, `loaders` and `transforms` are those that a job may choose, empty if the agent does
    not announce them; `trouble` is why the agent accepts no tasks. `memory_mb` and `storage_mb` are
    in MiB, what was free when the agent started: later figures would tell when it trains.
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
    """State of a node; `online: false` is its last will. `trouble` is for its operator.

    `noise_key` is the SHA-256 of the key that a collector draws noise with; None if it has none.
    `encryption_key` is the id of the key for homomorphic encryption that the node has: an agent the
    secret one, another node its public part.
    """

    node: NodeName
    incarnation: Whole
    online: Flag
    protocol: Whole = PROTOCOL
    version: Text = ""
    agent: AgentFacts | None = None
    trouble: Text = ""
    noise_key: Digest | None = None
    encryption_key: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeIdentity:
    """The Ed25519 public key (32 bytes, hexadecimal) with which an agent signs."""

    node: NodeName
    key: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Sign of life of a node, with its load per core, its memory in MiB and its task's progress."""

    incarnation: Whole
    load: Number
    memory_mb: Number
    progress: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """State of a job.

    `submitted` is the time at which the repository stored the job, `ended` the time at which it
    stored the job's end, `at` the time of this state. `strategy` is the id of the strategy; None if
    the job's file cannot be read any more. `privacy` is what the job has spent; None before its
    first noise, and without a privacy mechanism. `protection` says in words how updates are
    encrypted or masked, `steps` how updates and versions are made smaller; "" if they are not.
    """

    job: Ident
    model: Ident
    phase: JobPhase
    round: Whole
    num_rounds: Whole
    metrics: Metrics
    reason: Text
    strategy: Ident | None = None
    version: Whole | None = None
    agents: Whole = 0
    submitted: Timestamp | None = None
    ended: Timestamp | None = None
    at: Timestamp | None = None
    privacy: PrivacySpent | None = None
    energy: EnergyUsed | None = None
    protection: Text = ""
    steps: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFault:
    """A fault of a job file; `key` is its path in the file, empty for the file as a whole."""

    key: Text
    problem: Text
    hint: Text = ""

    def __str__(self) -> str:
        """Format as a sentence: key, problem, hint."""
        sentence = f"{self.key or 'job file'}: {self.problem}"
        return f"{sentence}; {self.hint}" if self.hint else sentence

    def clipped(self) -> "JobFault":
        """Return the fault with its texts cut to the length that a message allows."""
        most = MAX_TEXT_CHARACTERS
        return JobFault(key=self.key[:most], problem=self.problem[:most], hint=self.hint[:most])


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRequest:
    """A job file or a cancellation that the controller has refused."""

    job: Ident
    request: Literal["submit", "cancel"]
    faults: Annotated[tuple[JobFault, ...], Bounds(min_length=1, max_length=MAX_FAULTS_SENT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundState:
    """A finished round; `began` when its agents were asked, published `at` that time.

    With a privacy mechanism it names no agent and has no figure of one: no contributors, refusals,
    examples, metrics of training, bytes of updates.
    """

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
    privacy: PrivacySpent | None = None
    energy: EnergyUsed | None = None
    traffic: RoundTraffic | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLatest:
    """The newest committed version of a model, made `at` that time."""

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
    privacy: PrivacySpent | None = None
    encryption: EncryptedVersion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAliases:
    """The version that each alias of a model names, such as `production`, and that of each tag.

    `changes` counts the changes of both: a later document has a higher one.
    """

    model: Ident
    aliases: Annotated[dict[Ident, ModelRef], Bounds(max_length=MAX_ALIASES)]
    changes: Whole = 0
    tags: Annotated[dict[Ident, Whole], Bounds(max_length=MAX_TAGS)] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """Name, shape, dtype and role of one tensor of a model."""

    name: Annotated[str, Bounds(max_length=MAX_TENSOR_NAME_CHARACTERS)]
    shape: Annotated[tuple[Whole, ...], Bounds(max_length=MAX_DIMENSIONS)]
    dtype: Ident
    role: Literal["weight", "statistic", "local"] = "weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNeeds:
    """The parts of a model's spec that decide which agents can train it.

    `architectures` are names of frameworks. `classes` has the first names of the model's classes,
    their `count` and a `digest` of all. `answers` is the meaning of the outputs. A model that only
    runs has `trains` false.
    """

    architectures: Annotated[tuple[Ident, ...], Bounds(max_length=MAX_STRUCTURES)]
    input: Annotated[dict[str, Any], Bounds(max_length=32)] = field(default_factory=dict)
    classes: Annotated[dict[str, Any], Bounds(max_length=3)] = field(default_factory=dict)
    least_batch: Annotated[int, Strict(ge=1, lt=2**31)] = 1
    answers: OutputKind | None = None
    trains: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Description of a model: layout, architectures, input, meaning of the outputs.

    Attributes:
        layout: The tensors of a version; empty for a model that only runs: its file holds them.
        architectures: What each framework's adapter needs, by the framework's name; an entry
            `{"blob": blob_ref}` refers to a file that the repository serves. The adapter validates
            it, and never executes it.
        input: The input format, in aerOS's notation.
        preprocessing: Transforms from what a device reads to `input`, in the notation of an agent's
            pipeline; inference applies them.
        raw_input: The format of what the transforms start from, as `input`; empty: its shape,
            float32.
        answers: The meaning of the outputs; None: not stated.
        classes: Names of the classes (or labels) in the order of the outputs; empty: no names.
        least_batch: Rows that a batch must have to be trained on.
    """

    model: Ident
    layout: Annotated[tuple[TensorSpec, ...], Bounds(max_length=MAX_TENSORS)]
    architectures: Annotated[dict[Ident, dict[str, Any]], Bounds(max_length=MAX_STRUCTURES)]
    input: dict[str, Any] = field(default_factory=dict)
    preprocessing: Annotated[tuple[dict[str, Any], ...], Bounds(max_length=MAX_TRANSFORMS)] = ()
    raw_input: dict[str, Any] = field(default_factory=dict)
    answers: OutputKind | None = None
    classes: Annotated[tuple[Word, ...], Bounds(max_length=MAX_CLASS_NAMES)] = ()
    least_batch: Annotated[int, Strict(ge=1, lt=2**31)] = 1
