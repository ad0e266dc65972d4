"""Models for people: push, list, show."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from fedbus.wire.values import Flag, Ident, Manifest, Metrics, ModelRef, Text, Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class PushModel:
    """Store a first (or a further) version of a model: fetch its blobs from me."""

    model: Ident
    card: Manifest
    weights: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPushed:
    """The model is stored as this version."""

    version: ModelRef


@dataclass(frozen=True, slots=True, kw_only=True)
class ListModels:
    """Which models are there?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsListed:
    """The latest version of every model."""

    models: Annotated[tuple[ModelRef, ...], Field(max_length=2_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowModel:
    """Tell me about a version of a model; null is the latest."""

    model: Ident
    version: Whole | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFacts:
    """One version in a model's trail."""

    version: Whole
    parent: Whole | None
    weights: Manifest
    job: Ident | None
    round: Whole
    contributors: Whole
    metrics: Metrics
    kept: Flag


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShown:
    """A version of a model and the newest part of the model's trail, newest first."""

    version: ModelRef
    trail: Annotated[tuple[VersionFacts, ...], Field(max_length=1_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRefused:
    """What a user asked cannot be done; `about` is the model or job it named."""

    about: Text
    reason: Text
