"""The values messages are made of: names, digests, manifests, references.

pydantic's strict mode refuses a map for a dataclass and its lax mode takes "1" for 1, so strictness
is given to each scalar here, once, and containers stay lax (msgpack lists become tuples).
"""

import math
import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, Strict

from fedbus.digests import digest_of
from fedbus.wire.limits import (
    MAX_BLOB_BYTES,
    MAX_COHORT_AGENTS,
    MAX_IDENT_CHARACTERS,
    MAX_METRICS,
    MAX_SCHEDULERS,
    MAX_TEXT_CHARACTERS,
    MAX_TRANSFORMS,
    MAX_WORD_CHARACTERS,
)

CHUNK = 256 * 1024
"""Bytes in a chunk; the last one of a blob may be shorter."""


BASE = "base"
"""As a job's trainer: any that fedbus ships."""


IDENT = rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_IDENT_CHARACTERS - 1}}}"
IDENT_SAID = (
    f"1 to {MAX_IDENT_CHARACTERS} letters, digits, '.', '_' or '-', the first a letter or digit"
)
ROLES = ("agent", "collector", "controller", "inference", "repository", "user")
_NODE = re.compile(rf"(?:{'|'.join(ROLES)})\.{IDENT}")

Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(max_length=MAX_TEXT_CHARACTERS)]
Ident = Annotated[str, Strict(), Field(pattern=rf"^{IDENT}$")]
NodeName = Annotated[str, Strict(), Field(pattern=rf"^(?:{'|'.join(ROLES)})\.{IDENT}$")]
Digest = Annotated[str, Strict(), Field(pattern=r"^[0-9a-f]{64}$")]
RoundNumber = Annotated[int, Strict(), Field(ge=1, lt=2**31)]
TaskNumber = Annotated[int, Strict(), Field(ge=1, lt=2**31)]
Whole = Annotated[int, Strict(), Field(ge=0, lt=2**53)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Raw = Annotated[bytes, Strict()]
Moment = Annotated[
    str,
    Strict(),
    Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"),
]
"""A time, RFC 3339 in UTC to the millisecond: `2026-11-29T08:53:28.120Z`; see moments.py."""
Signed = Annotated[int, Strict(), Field(ge=-(2**53), lt=2**53)]
Word = Annotated[str, Strict(), Field(max_length=MAX_WORD_CHARACTERS)]
Argument = (
    Flag | Signed | Number | Word | Annotated[tuple[Signed | Number, ...], Field(max_length=256)]
)
Arguments = Annotated[dict[Ident, Argument], Field(max_length=64)]
Metrics = Annotated[dict[Ident, Number], Field(max_length=MAX_METRICS)]


def is_node(name: str) -> bool:
    """Tell whether a name is a well-formed address, `role.name`."""
    return _NODE.fullmatch(name) is not None


def role_of(node: str) -> str:
    """Return the role a node's address states: what stands before its first dot."""
    return node.partition(".")[0]


def chunks_in(size: int) -> int:
    """Count the chunks of a blob of `size` bytes; an empty blob has one, empty, chunk."""
    return max(1, math.ceil(size / CHUNK))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A blob's name (BLAKE3, hex) and its size in bytes."""

    digest: Digest
    size: Annotated[int, Strict(), Field(ge=0, le=MAX_BLOB_BYTES)]

    @property
    def count(self) -> int:
        """Number of chunks; it follows from the size, so no sender can state a wrong one."""
        return chunks_in(self.size)


def manifest_of(data: bytes | bytearray | memoryview) -> Manifest:
    """Compute the manifest of bytes: their digest and size."""
    return Manifest(digest=digest_of(data), size=memoryview(data).nbytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A blob, and the node that serves it."""

    manifest: Manifest
    source: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """A committed version of a model: its weights, and the card that says how to read them."""

    model: Ident
    version: Whole
    weights: Manifest
    card: Manifest
    source: NodeName

    def reference(self, manifest: Manifest) -> Reference:
        """Name one of this model's blobs at the node that serves them."""
        return Reference(manifest=manifest, source=self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerPart:
    """A scheduler of which another is made."""

    name: Word
    args: Arguments = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerParams:
    """How the learning rate changes; `parts` are the schedulers that this one is made of."""

    name: Word
    args: Arguments = field(default_factory=dict)
    parts: Annotated[tuple[SchedulerPart, ...], Field(max_length=MAX_SCHEDULERS)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmupParams:
    """What stands in for the scheduler in a job's first epochs; without one, the factor rule."""

    epochs: Annotated[int, Strict(), Field(ge=1, le=100_000)]
    iters: Annotated[int, Strict(), Field(ge=1, le=100_000_000)] = 1
    factor: Annotated[float, Strict(), Field(gt=0, le=1000, allow_inf_nan=False)] = 1.0
    scheduler: SchedulerParams | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformParams:
    """A step between an agent's own pipeline and its trainer, as aerOS writes one."""

    id: Ident
    parameters: Arguments = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a job wants an agent's data read: plug-ins by name, which the agent's owner must allow.

    `loader` None is the agent's own; `transforms` follow those of the agent's own pipeline.
    """

    loader: Ident | None = None
    transforms: Annotated[tuple[TransformParams, ...], Field(max_length=MAX_TRANSFORMS)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingParams:
    """How to train, and what to measure; `steps_per_epoch` None is every batch there is.

    `optimizer_args` are the job's words, the learning rate apart. With `keep_state` an agent goes
    on with the optimizer and the scheduler where its task before of this job left them. `reading`
    None is as the agent's owner has it.
    """

    batch_size: Annotated[int, Strict(), Field(ge=1, le=1_000_000)] = 32
    epochs: Annotated[int, Strict(), Field(ge=1, le=100_000)] = 1
    steps_per_epoch: Annotated[int, Strict(), Field(ge=1, le=100_000_000)] | None = None
    learning_rate: Annotated[float, Strict(), Field(gt=0, le=1000, allow_inf_nan=False)] = 0.01
    optimizer: Text = "sgd"
    optimizer_args: Arguments = field(default_factory=dict)
    scheduler: SchedulerParams | None = None
    warmup: WarmupParams | None = None
    precision: Literal["full", "mixed"] = "full"
    keep_state: Flag = False
    loss: Text = "categorical_crossentropy"
    metrics: Annotated[tuple[Text, ...], Field(max_length=MAX_METRICS)] = ("accuracy",)
    reading: Reading | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contributor:
    """One update that counted: who sent it, for which task, and what it weighs."""

    agent: NodeName
    task: Whole
    examples: Whole
    update: Digest
    metrics: Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One agent of the roster that did not count, and why."""

    agent: NodeName
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A round as the controller means to run it; stored before anyone is asked.

    `task` rises with every plan of a job, so (job, agent, task) names at most one update for ever.
    """

    job: Ident
    round: RoundNumber
    task: TaskNumber
    base: ModelRef
    collector: NodeName
    roster: Annotated[tuple[NodeName, ...], Field(min_length=1, max_length=MAX_COHORT_AGENTS)]
    quorum: Annotated[int, Strict(), Field(ge=1, le=MAX_COHORT_AGENTS)]
    deadline_seconds: Annotated[float, Strict(), Field(gt=0, le=86_400)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """What the repository stores for a round, in one document with the version it made."""

    job: Ident
    round: RoundNumber
    task: TaskNumber
    model: Ident
    parent: Whole
    card: Manifest
    weighted: Flag
    contributors: Annotated[
        tuple[Contributor, ...], Field(min_length=1, max_length=MAX_COHORT_AGENTS)
    ]
    refusals: Annotated[tuple[Refusal, ...], Field(max_length=MAX_COHORT_AGENTS)]
    metrics: Metrics
    seconds: Metrics
