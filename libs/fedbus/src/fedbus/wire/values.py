"""Values of messages: addresses, digests, blob references, plans and records."""

import math
import re
from dataclasses import dataclass
from typing import Annotated

from fedbus.digest import digest_of
from fedbus.limits import MAX_BLOB_BYTES, MAX_COHORT_AGENTS, MAX_METRICS
from fedbus.scalars import IDENT, Bounds, Flag, Ident, Number, RoundNumber, Strict, Text, Whole

CHUNK = 256 * 1024
"""Bytes in a chunk; the last one of a blob may be shorter."""

BASE = "base"
"""As a job's trainer: any that fedbus ships."""

ROLES = ("agent", "collector", "controller", "inference", "repository", "user")
_NODE = re.compile(rf"(?:{'|'.join(ROLES)})\.{IDENT}")

NodeName = Annotated[str, Strict(pattern=rf"^(?:{'|'.join(ROLES)})\.{IDENT}$")]
Digest = Annotated[str, Strict(pattern=r"^[0-9a-f]{64}$")]
TaskNumber = Annotated[int, Strict(ge=1, lt=2**31)]
Moment = Annotated[
    str,
    Strict(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"),
]
"""A time, RFC 3339 in UTC to the millisecond: `2026-11-29T08:53:28.120Z`; see moments.py."""
Metrics = Annotated[dict[Ident, Number], Bounds(max_length=MAX_METRICS)]


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
class BlobRef:
    """A blob's name (BLAKE3, hex) and its size in bytes."""

    digest: Digest
    size: Annotated[int, Strict(ge=0, le=MAX_BLOB_BYTES)]

    @property
    def count(self) -> int:
        """Number of chunks; it follows from the size, so no sender can state a wrong one."""
        return chunks_in(self.size)


def blob_ref_of(data: bytes | bytearray | memoryview) -> BlobRef:
    """Compute the blob_ref of bytes: their digest and size."""
    return BlobRef(digest=digest_of(data), size=memoryview(data).nbytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobLocation:
    """A blob, and the node that serves it."""

    blob_ref: BlobRef
    source: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """A committed version of a model: its weights, and the spec that says how to read them."""

    model: Ident
    version: Whole
    weights: BlobRef
    spec: BlobRef
    source: NodeName

    def reference(self, blob_ref: BlobRef) -> BlobLocation:
        """Name one of this model's blobs at the node that serves them."""
        return BlobLocation(blob_ref=blob_ref, source=self.source)


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
    """One agent of the cohort that did not count, and why."""

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
    cohort: Annotated[tuple[NodeName, ...], Bounds(min_length=1, max_length=MAX_COHORT_AGENTS)]
    quorum: Annotated[int, Strict(ge=1, le=MAX_COHORT_AGENTS)]
    deadline_seconds: Annotated[float, Strict(gt=0, le=86_400)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """What the repository stores for a round, in one document with the version it made."""

    job: Ident
    round: RoundNumber
    task: TaskNumber
    model: Ident
    parent: Whole
    spec: BlobRef
    weighted: Flag
    contributors: Annotated[
        tuple[Contributor, ...], Bounds(min_length=1, max_length=MAX_COHORT_AGENTS)
    ]
    refusals: Annotated[tuple[Refusal, ...], Bounds(max_length=MAX_COHORT_AGENTS)]
    metrics: Metrics
    seconds: Metrics
