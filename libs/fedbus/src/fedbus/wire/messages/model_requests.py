"""Models for people: push, list, show."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from fedbus.scalars import Bounds, Flag, Ident, Text, Whole
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus.wire.identifiers import Metrics, Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class PushModel:
    """Store a first (or a further) version of a model: fetch its blobs from me.

    With `reset` it is stored even where the newest version was made by a round, and then takes that
    one's place as what is served and trained.
    """

    model: Ident
    spec: BlobRef
    weights: BlobRef
    reset: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPushed:
    """The model is stored as this version."""

    version: ModelRef


@dataclass(frozen=True, slots=True, kw_only=True)
class ListModels:
    """Which models are there?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsListed:
    """The latest version of every model, and by the model's name when it was made."""

    models: Annotated[tuple[ModelRef, ...], Bounds(max_length=2_000)]
    made: Annotated[dict[Ident, Timestamp], Bounds(max_length=2_000)] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowModel:
    """Tell me about a version of a model; null is the latest.

    `before` is where the trail that is told begins: at the version below it, for those who ask for
    more than one answer holds.
    """

    model: Ident
    version: Whole | None = None
    before: Whole | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFacts:
    """One version in a model's trail."""

    version: Whole
    parent: Whole | None
    weights: BlobRef
    job: Ident | None
    round: Whole
    contributors: Whole
    metrics: Metrics
    kept: Flag
    at: Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptVersion:
    """A version whose weights are not deleted, and why: the first reason that holds."""

    version: Whole
    why: Literal["best", "pushed", "newest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShown:
    """A version of a model and a part of the model's trail, newest first.

    `versions` counts the whole trail. `kept` are the versions whose weights can be fetched, newest
    first, and `best` is the one of the best metric, by which the repository keeps it.
    """

    version: ModelRef
    history: Annotated[tuple[VersionFacts, ...], Bounds(max_length=1_000)]
    versions: Whole = 0
    kept: Annotated[tuple[KeptVersion, ...], Bounds(max_length=1_000)] = ()
    best: Whole | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRefused:
    """What a user asked cannot be done; `about` is the model or job it named."""

    about: Text
    reason: Text
