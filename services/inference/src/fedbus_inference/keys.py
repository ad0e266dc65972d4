"""Correlation keys of the inference service's actions, each with its model and slot."""

from dataclasses import dataclass

from fedbus.core.keys import Key


@dataclass(frozen=True, slots=True)
class ModelKey(Key):
    """Base of all keys of this service.

    A model's *slot* is a version that answers and its successors: empty for the default one.
    """

    model: str
    slot: str = ""


@dataclass(frozen=True, slots=True)
class NumberedKey(ModelKey):
    """Base of the keys of runs that may end after their slot was closed and opened again.

    The number tells all attempts and batches of the process apart.
    """

    number: int = 0


class Prediction(NumberedKey):
    """Run that answers the queued requests."""


class RequestDeadline(ModelKey):
    """Timer of the refusal of the oldest queued request."""


class BatchWait(ModelKey):
    """Timer of the latest start of a batch that still has room."""


class SpecFetch(ModelKey):
    """Fetch of a version's model spec."""


class ArchitectureFetch(ModelKey):
    """Fetch of the architecture file of the chosen framework."""


class WeightsFetch(ModelKey):
    """Fetch of a version's weights."""


class SpecReading(NumberedKey):
    """Run that reads a fetched model spec."""


class VersionLoading(NumberedKey):
    """Run that loads a version into the framework."""


class LastGoodLookup(ModelKey):
    """Run that reads the last version that answered before a restart."""


class VersionQuestion(ModelKey):
    """Question to the repository which version a request has chosen."""


class LookupTimeout(ModelKey):
    """Timer of that question."""


class CanaryRollBack(ModelKey):
    """Request to the repository to roll the alias `canary` back."""


class LoadRetry(ModelKey):
    """Timer of the next attempt to load a version."""
