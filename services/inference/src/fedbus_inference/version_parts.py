"""Parts of one version while they are fetched: spec, architecture file, weights. Pure."""

from collections.abc import Iterator
from functools import partial

from fedbus.core.actions import Action, Cancel, Fetch, Run
from fedbus.core.events import Event, Fetched, Ran
from fedbus.wire.blobs import BlobLocation, BlobRef
from fedbus.wire.documents import ModelLatest
from fedbus_inference import keys
from fedbus_inference.loading import OpenedSpec, Runtime, open_spec, weights_ref
from fedbus_inference.settings import InferenceSettings


class MemorySink:
    """A blob in memory: a BlobSink."""

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write bytes at an offset."""
        self.data[offset : offset + len(data)] = data


class VersionParts:
    """Fetches a version's parts; a spec that the version before had as well is not fetched again.

    Attributes:
        opened: The spec, once it is read.
        architecture: The architecture file, if the spec names one and it has arrived.
        weights: The weights, once they have arrived.
        number: Of the attempt for which they are fetched.
    """

    def __init__(
        self, model: str, slot: str, runtime: Runtime, settings: InferenceSettings
    ) -> None:
        self.opened: OpenedSpec | None = None
        self.architecture: bytearray | None = None
        self.weights: bytearray | None = None
        self._of = model, slot
        self.number = 0
        self._runtime, self._settings = runtime, settings

    @property
    def is_complete(self) -> bool:
        """Return whether all parts have arrived."""
        if self.opened is None or self.weights is None:
            return False
        return self.architecture is not None or not self.opened.blob

    def fetch(self, version: ModelLatest, number: int) -> Iterator[Action]:
        """Fetch the parts of a version that are not here; `number`: of this attempt."""
        self.number = number
        if self.opened and self.opened.digest == version.spec.digest:
            yield from self._fetch_rest(self.opened, version)
        else:
            self.opened, self.architecture = None, None
            yield self._fetch(keys.SpecFetch(*self._of), version.spec, version)

    def advance(self, event: Event, version: ModelLatest) -> Iterator[Action]:
        """Take a part of the version that has arrived, and fetch those that it names."""
        match event:
            case Fetched(keys.SpecFetch(), MemorySink(data=data)):
                call = partial(open_spec, data, version.spec, self._runtime, self._settings)
                yield Run(keys.SpecReading(*self._of, self.number), call)
            case Ran(keys.SpecReading(), OpenedSpec() as opened):
                self.opened = opened
                yield from self._fetch_rest(opened, version)
            case Fetched(keys.ArchitectureFetch(), MemorySink(data=data)):
                self.architecture = data
            case Fetched(keys.WeightsFetch(), MemorySink(data=data)):
                self.weights = data

    def loaded(self) -> None:
        """Release the weights; spec and architecture may be those of the next version."""
        self.weights = None

    def abandon(self) -> Iterator[Action]:
        """End the fetches, and forget what has arrived."""
        for fetch in (keys.SpecFetch, keys.ArchitectureFetch, keys.WeightsFetch):
            yield Cancel(fetch(*self._of))
        self.opened, self.architecture, self.weights = None, None, None

    def _fetch_rest(self, opened: OpenedSpec, version: ModelLatest) -> Iterator[Action]:
        if opened.blob and self.architecture is None:
            yield self._fetch(keys.ArchitectureFetch(*self._of), opened.blob, version)
        yield self._fetch(keys.WeightsFetch(*self._of), weights_ref(version), version)

    def _fetch(self, key: keys.ModelKey, blob_ref: BlobRef, version: ModelLatest) -> Fetch:
        location = BlobLocation(blob_ref=blob_ref, source=version.source)
        return Fetch(key, location, MemorySink(blob_ref.size))
