"""Messages of users about models: push, list, show."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from fedbus.errors import RequestRefusalKind
from fedbus.limits import MAX_ALIASES, MAX_TAGS
from fedbus.scalars import Bounds, Flag, Ident, Strict, Text, Whole, Word
from fedbus.wire.blobs import BlobRef, EncryptedVersion, ModelRef
from fedbus.wire.identifiers import Digest, Metrics, Timestamp
from fedbus.wire.privacy import JobPrivacy, PrivacySpent
from fedbus.wire.round_records import RoundRecord
from fedbus.wire.strategies import Strategy

RetentionReason = Literal["best", "pushed", "tagged", "alias", "newest", "anchor"]
"""Why a version still has its weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """The stored version that a key holder made another one from, how, and who did it.

    `release`: the same weights, decrypted. `rotation`: the same weights, encrypted with a new key.
    The repository adds the node that sent it to `by`, which is what the node says of its user.
    """

    kind: Literal["release", "rotation"]
    version: Whole
    by: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class PushModel:
    """Store a version of a model; its blobs are fetched from the sender.

    With `reset` it is stored even if the newest version was made by a round, and is then the
    version that is served and trained. A model equal to the newest version is stored again only
    with `reset`, and only if a job has trained the model, or drawn noise for it, since the last
    push: a repeated request changes nothing. A `derived` version has the weights of another one;
    with `encryption` they are a ciphertext.
    """

    model: Ident
    spec: BlobRef
    weights: BlobRef
    reset: Flag = False
    derived: Derivation | None = None
    encryption: EncryptedVersion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPushed:
    """The model is stored as this version."""

    version: ModelRef


@dataclass(frozen=True, slots=True, kw_only=True)
class ListModels:
    """Return the latest version of every model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsListed:
    """The latest version of every model, and the time it was made, by the model's name."""

    models: Annotated[tuple[ModelRef, ...], Bounds(max_length=2_000)]
    made: Annotated[dict[Ident, Timestamp], Bounds(max_length=2_000)] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowModel:
    """Return a version of a model (null: the latest) and the model's history.

    With `name` it is the version that this alias or tag names. The history in the reply starts at
    the version below `before`: a long history takes several requests. With `record` the reply has
    the record of the round that made the version.
    """

    model: Ident
    version: Whole | None = None
    name: Ident | None = None
    before: Whole | None = None
    record: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFacts:
    """One version in a model's history.

    `parent` is the version before it, `base` the one that it was made from: the base of its round,
    or the source that it is derived from; null: its weights were pushed. If its job has a privacy
    mechanism, `contributors` is 0 and `metrics` are held-out ones only.
    """

    version: Whole
    parent: Whole | None
    weights: BlobRef
    job: Ident | None
    round: Whole
    contributors: Whole
    metrics: Metrics
    kept: Flag
    at: Timestamp | None = None
    strategy: Strategy | None = None
    privacy: PrivacySpent | None = None
    encryption: EncryptedVersion | None = None
    derived: Derivation | None = None
    base: Whole | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptVersion:
    """A version whose weights are kept, and the first reason that applies.

    `anchor`: an encrypted version that is kept is a distance from it. `alias`: an alias names it,
    or its next roll-backs would.
    """

    version: Whole
    why: RetentionReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShown:
    """A version of a model and a part of the model's history, newest first.

    `versions` is the length of the whole history. `kept` are the versions whose weights can be
    fetched, newest first; `best` is the one with the best metric. `record` is that of the round
    that made `version`, if it was asked for; the history is cut to what fits the message beside it.
    `aliases` and `tags` are all names of the model's versions.
    It names no agent and has no figure of one if the job has a privacy mechanism.
    """

    version: ModelRef
    history: Annotated[tuple[VersionFacts, ...], Bounds(max_length=1_000)]
    versions: Whole = 0
    kept: Annotated[tuple[KeptVersion, ...], Bounds(max_length=1_000)] = ()
    best: Whole | None = None
    record: RoundRecord | None = None
    aliases: Annotated[dict[Ident, Whole], Bounds(max_length=MAX_ALIASES)] = field(
        default_factory=dict
    )
    tags: Annotated[dict[Ident, Whole], Bounds(max_length=MAX_TAGS)] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowPrivacy:
    """Return what the jobs that trained a model have spent of its agents' privacy."""

    model: Ident


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyShown:
    """The jobs that trained a model, oldest first, and what they have spent together.

    `epsilon` and `delta` are sums over the jobs; `epsilon` is None if a job has no ε.
    """

    model: Ident
    version: Whole
    jobs: Annotated[tuple[JobPrivacy, ...], Bounds(max_length=1_000)]
    epsilon: Annotated[float, Strict(ge=0, allow_inf_nan=False)] | None
    delta: Annotated[float, Strict(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRefused:
    """A request is refused; `about` is the model, job or configuration that it named.

    Attributes:
        kind: What to correct: the request itself, the name of what it is about, the state of what
            is stored (`conflict`), or what is wrong with the repository's store.
        request: The digest of the refused request (`codec.request_digest`): a node may wait for
            answers to several requests about one model, and another process of its account for
            more. Null is that of a repository of an earlier version.
    """

    about: Text
    reason: Text
    kind: RequestRefusalKind = "conflict"
    request: Digest | None = None
