"""Correlation keys of the inference service's actions, each with its model."""

from dataclasses import dataclass

from fedbus.core.keys import Key


@dataclass(frozen=True, slots=True)
class ModelKey(Key):
    """Base of all keys of this service."""

    model: str


@dataclass(frozen=True, slots=True)
class Prediction(ModelKey):
    """Run that answers the queued requests."""


@dataclass(frozen=True, slots=True)
class RequestDeadline(ModelKey):
    """Timer of the refusal of the oldest queued request."""


@dataclass(frozen=True, slots=True)
class SpecFetch(ModelKey):
    """Fetch of a version's model spec."""


@dataclass(frozen=True, slots=True)
class ArchitectureFetch(ModelKey):
    """Fetch of the architecture file of the chosen framework."""


@dataclass(frozen=True, slots=True)
class WeightsFetch(ModelKey):
    """Fetch of a version's weights."""


@dataclass(frozen=True, slots=True)
class SpecReading(ModelKey):
    """Run that reads a fetched model spec."""


@dataclass(frozen=True, slots=True)
class VersionLoading(ModelKey):
    """Run that loads a version into the framework."""


@dataclass(frozen=True, slots=True)
class LastGoodLookup(ModelKey):
    """Run that reads the last version that answered before a restart."""


@dataclass(frozen=True, slots=True)
class LoadRetry(ModelKey):
    """Timer of the next attempt to load a version."""
