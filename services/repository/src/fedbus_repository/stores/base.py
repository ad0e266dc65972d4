"""What the repository asks of a store, and what a store answers.

Every method is one atomic change or one consistent reading, made in a worker thread, several at a
time. In MongoDB, where only a single document changes atomically, a job with its plan is one
document and a version with its round another; nothing here asks for more than that. What a method
may refuse stands in `rules.py`, so that all stores refuse alike. Whatever the disk does wrong is a
StoreError, and leaves the state as it was.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from fedbus.core.actions import Source
from fedbus.wire.values import BlobRef, Metrics, Moment, Plan, RoundRecord

EndPhase: TypeAlias = Literal["finished", "failed", "cancelled"]
Verdict: TypeAlias = Literal["stored", "drop", "unknown"]
Kept: TypeAlias = Literal["best", "pushed", "newest"]
"""Why a version still has its weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who acts as the controller; the epoch rises whenever it passes on."""

    holder: str
    incarnation: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a model, without its round's record; a pushed one has no job.

    `scored`: its metrics hold a held-out score. `pinned`: its weights stay, whatever comes. `kept`:
    they are not deleted yet. `at`: when it was made, which tells no two versions apart.
    """

    model: str
    version: int
    parent: int | None
    weights: BlobRef
    spec: BlobRef
    job: str | None = None
    round: int = 0
    contributors: int = 0
    metrics: Metrics = field(default_factory=dict)
    scored: bool = False
    pinned: bool = False
    kept: bool = True
    at: Moment | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A version, and the record of the round that made it; pushed versions have none."""

    version: Version
    record: RoundRecord | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a job ended: what was said first, and when."""

    job: str
    phase: EndPhase
    reason: str
    at: Moment | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job, its last plan, and how far it has come.

    `latest` is its last committed version, or its base while there is none. `forgotten`: it is
    listed no more.
    """

    job: str
    model: str
    file: bytes
    secret: bytes
    ended: Ended | None
    base: Version
    latest: Version
    rounds: int
    plan: Plan | None
    submitted: Moment | None = field(default=None, compare=False)
    forgotten: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A version of a model, and a part of the trail, newest first.

    `versions` counts the whole trail; `kept` are those that still have their weights, newest first,
    with why; `best` is the one that is kept for its metric.
    """

    version: Version
    trail: tuple[Version, ...]
    versions: int
    kept: tuple[tuple[int, Kept], ...]
    best: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What tells a submission without an id from others: the digest of its sender and its file.

    `redelivered`: the broker had delivered it before. `seconds`: so long after a job was stored,
    the same origin means that job.
    """

    digest: str
    redelivered: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """What was asked is not done, and why; `key` is the one of the job file that is at fault."""

    reason: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Stale:
    """Whoever asks has lost the lease; `epoch` is the one that holds."""

    epoch: int


class Upload(Protocol):
    """A blob on its way into the store; a Sink that never raises.

    A full disk must not end the service, so it tells at `keep` what went wrong. Until then nobody
    else sees it, and a restart forgets it.
    """

    @property
    def blob_ref(self) -> BlobRef:
        """What it is to become."""

    def write(self, offset: int, data: bytes | memoryview, /) -> None:
        """Put bytes at an offset."""

    def read(self, offset: int, length: int, /) -> bytes:
        """Take bytes at an offset, for a look before it is kept.

        Raises:
            StoreError: they could not be written, or cannot be read.
        """

    def keep(self) -> None:
        """Become a blob of the store, durably.

        Raises:
            TransferError: it is not what its blob_ref names.
            StoreError: it could not be written.
        """

    def discard(self) -> None:
        """Forget it; what is kept or forgotten already stays so."""


class Store(Protocol):
    """Jobs, plans, rounds, versions, the lease; and the blobs they name."""

    # ── the lease ─────────────────────────────────────────────────────────────────────────────────

    def take_lease(self, holder: str, incarnation: int, *, expired: int | None = None) -> Lease:
        """Grant the lease if it is free, the holder's own, or of the epoch that has `expired`.

        Returns the lease that holds afterwards, whoever's it is. The store knows no clock.
        """

    # ── jobs; a lower epoch than the lease's is answered Stale ────────────────────────────────────

    def store_job(
        self, epoch: int, job: str, model: str, file: bytes, origin: Origin | None = None
    ) -> Job | Refused | Stale:
        """Accept a job with a secret of its own; the same id and an equal file are the same job.

        With an origin, the job that the submission has become already (`rules.repeats`) is
        returned, whatever its id. A plan or an end under the epoch of the submission shows that its
        controller went on, so that the broker keeps the request no more. Where several jobs can be
        written at a time, the key of a model's one running job makes the second insert fail; then
        the origin is looked up again.
        """

    def store_plan(self, epoch: int, plan: Plan) -> Plan | Ended | Refused | Stale | None:
        """Journal a plan; None: a later one, or another of that task, holds."""

    def store_score(
        self, epoch: int, job: str, round: int, metrics: Metrics
    ) -> Version | Refused | Stale | None:
        """Merge a score into the metrics of a round's version; None: there is no such round."""

    def end_job(
        self, epoch: int, job: str, phase: EndPhase, reason: str
    ) -> Ended | Refused | Stale:
        """End a job; how it ended first is how it ended."""

    def list_jobs(self, epoch: int) -> tuple[str, ...] | Stale:
        """Name the jobs that run, then those that have ended, the latest begun first."""

    def forget_job(self, epoch: int, job: str) -> Job | Refused | Stale:
        """List an ended job no more; it keeps its id, its file, its rounds and its versions."""

    def load_job(self, epoch: int, job: str, origin: Origin | None = None) -> Job | Refused | Stale:
        """Read all there is about a job, or about the one that a submission has become already."""

    # ── rounds and versions ───────────────────────────────────────────────────────────────────────

    def weigh(self, record: RoundRecord, weights: BlobRef) -> Round | Refused | None:
        """Say what a commit would be answered; None: it would go in, so fetch its weights."""

    def commit(self, record: RoundRecord, weights: BlobRef) -> Round | Refused:
        """Make a round true, if nobody has; its weights must be kept before.

        The second commit of a round gets the first one's answer. Then blobs of old versions are
        deleted.
        """

    def look_up(self, job: str, agent: str, task: int) -> Verdict:
        """Say what became of an update."""

    def offered(
        self, model: str, spec: BlobRef, weights: BlobRef, *, reset: bool = False
    ) -> Version | Refused | None:
        """Say what a push would be answered; None: it would go in."""

    def push(
        self,
        model: str,
        spec: BlobRef,
        weights: BlobRef,
        files: Iterable[BlobRef],
        *,
        reset: bool = False,
    ) -> Version | Refused:
        """Make a version without a round; all its blobs must be kept before.

        Without `reset` a model whose newest version was trained is left as it is.
        """

    def latest(self) -> tuple[Version, ...]:
        """Read the latest version of every model, by name."""

    def show(
        self, model: str, version: int | None, limit: int, before: int | None = None
    ) -> Shown | Refused:
        """Read one version (None: the latest), and `limit` of the trail, newest first.

        With `before`, the trail is told from the version below that one.
        """

    def trail(self) -> Iterable[Round]:
        """Read everything, by model and version: for whoever checks it."""

    # ── blobs ─────────────────────────────────────────────────────────────────────────────────────

    def holds(self, blob: BlobRef) -> bool:
        """Tell whether a blob is here and sound: its content is read."""

    def upload(self, blob: BlobRef) -> Upload:
        """Reserve room for a blob that is to be fetched."""

    def release(self, blobs: Iterable[BlobRef]) -> None:
        """Delete those that nothing names: what was kept for a commit that was then refused."""

    def open_blob(self, digest: str) -> Source | None:
        """Find a blob, to be served; cheap enough to be asked for every chunk."""

    def close(self) -> None:
        """Let go of everything; a store that was killed instead loses nothing."""
