"""Correlation keys of the inference service's actions: each names the model it is about."""

from dataclasses import dataclass

from fedbus.core.keys import Key


@dataclass(frozen=True, slots=True)
class ModelKey(Key):
    """Base of all keys here."""

    model: str


@dataclass(frozen=True, slots=True)
class Prediction(ModelKey):
    """Run that answers the requests which have waited."""


@dataclass(frozen=True, slots=True)
class RequestDeadline(ModelKey):
    """Timer: the oldest waiting request is to be refused."""


@dataclass(frozen=True, slots=True)
class SpecFetch(ModelKey):
    """Fetch of a version's model spec."""


@dataclass(frozen=True, slots=True)
class StructureFetch(ModelKey):
    """Fetch of the architecture that the framework here loads."""


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
    """Run that reads which version answered last before a restart."""


@dataclass(frozen=True, slots=True)
class LoadRetry(ModelKey):
    """Timer: a version that failed is to be loaded again."""
