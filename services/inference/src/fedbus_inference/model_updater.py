"""How the newest version of one model comes here: spec, architecture, weights, load. Pure.

One version comes at a time, and after it the newest there is by then: so every version that is
begun arrives, however fast they follow each other. What failed is tried again, after 1, 2, 4 … 60 s
or when the repository speaks of it again. An older version never follows a newer one.

A version that will never load, because its file is damaged or its weights do not fit, say, is put
aside: it is not tried again, and the one before goes on. After a restart there is none before; then
the last one that answered is brought, if it is known and the repository still has it.
"""

from collections.abc import Iterator
from functools import partial

from fedbus.core.actions import Action, Cancel, Fetch, Note, Run, WakeAt
from fedbus.core.events import Event, Fetched, FetchFailed, Ran, RunFailed, Woke
from fedbus.errors import LayoutError, PluginError, TrainingError, TransferError, WireError
from fedbus.frameworks.tflite.trial import TrialNotRun
from fedbus.limits import MAX_SPEC_BYTES
from fedbus.wire.blobs import BlobLocation, BlobRef
from fedbus.wire.documents import ModelLatest
from fedbus_inference import keys
from fedbus_inference.last_good import LastGood
from fedbus_inference.limits import Limits
from fedbus_inference.loading import (
    Opened,
    Runtime,
    check_size,
    load_version,
    open_spec,
    weights_of,
)
from fedbus_inference.prediction import Served

LONGEST_RELOAD_SECONDS = 60.0
SPARE_BYTES = 256 * 2**20
"""Of weights, up to which a model that has retired is kept to take the next version's."""
LASTING = (LayoutError, PluginError, TrainingError, WireError)
"""What is wrong with a version itself, or with this installation: no retry mends it."""


class Buffer:
    """A blob in memory: a BlobSink."""

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Put bytes at an offset."""
        self.data[offset : offset + len(data)] = data


class Arrival:
    """Bring one version after the other; each ends in `Ran(VersionLoading(model), Served)`.

    Attributes:
        coming: The version on its way; None when there is none to bring, or a pause.
        problem: Why the last one did not arrive; empty once one did.
    """

    def __init__(
        self, model: str, runtime: Runtime, limits: Limits, last_good: LastGood | None = None
    ) -> None:
        self.coming: ModelLatest | None = None
        self.problem = ""
        self._model = model
        self._runtime = runtime
        self._limits = limits
        self._last_good = last_good or LastGood()
        self._newest: ModelLatest | None = None
        self._aside: ModelLatest | None = None
        self._spare: Served | None = None
        self._loaded = -1
        self._failures = 0
        self._opened: Opened | None = None
        self._architecture: bytearray | None = None
        self._weights: bytearray | None = None

    def announced(self, latest: ModelLatest, now: float) -> Iterator[Action]:
        """Hear which version is the newest; what is here already is no news."""
        if self._newest is None or latest.version >= self._newest.version:
            self._newest = latest
        yield from self._next(now)

    def landed(self, served: Served, now: float) -> Iterator[Action]:
        """What was coming is here; bring what is newer by now."""
        self.coming, self._weights = None, None
        self._loaded, self.problem, self._failures = served.version, "", 0
        yield from self._next(now)

    def retired(self, served: Served) -> None:
        """Keep a model that answers no more: the next version's weights are loaded into it.

        TFLite and Keras never give all memory of a model back, so that a new one for each version
        lets the process grow.
        """
        self._spare = served if served.weight <= SPARE_BYTES else None

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Go on with the version that is coming."""
        match event:
            case Ran(keys.LastGoodLookup(), ModelLatest() as last):
                yield from self._recalled(last, now)
            case RunFailed(_, error) if self.coming and _lasts(error):
                yield from self._put_aside(self.coming, str(error), now)
            case Woke(keys.LoadRetry()):
                yield from self._next(now)
            case FetchFailed(_, reason) if self.coming:
                yield from self._failed(self.coming, reason, now)
            case RunFailed(_, error) if self.coming:
                yield from self._failed(self.coming, str(error) or type(error).__name__, now)
            case _ if self.coming:
                yield from self._go_on(event, self.coming)

    def _go_on(self, event: Event, coming: ModelLatest) -> Iterator[Action]:
        match event:
            case Fetched(keys.SpecFetch(), Buffer(data=data)):
                call = partial(open_spec, data, coming.spec, self._runtime, self._limits)
                yield Run(keys.SpecReading(self._model), call)
            case Ran(keys.SpecReading(), Opened() as opened):
                self._opened = opened
                yield from self._fetch_parts(opened, coming)
            case Fetched(keys.StructureFetch(), Buffer(data=data)):
                self._architecture = data
                yield from self._load(coming)
            case Fetched(keys.WeightsFetch(), Buffer(data=data)):
                self._weights = data
                yield from self._load(coming)

    def _next(self, now: float) -> Iterator[Action]:
        latest = self._newest
        if self.coming or latest is None or latest.version <= self._loaded:
            return
        if latest != self._aside:
            yield from self._bring(latest, now)

    def _bring(self, latest: ModelLatest, now: float) -> Iterator[Action]:
        self.coming = latest
        try:
            check_size("weights", latest.size, self._limits.model_bytes)
            check_size("spec", latest.spec.size, MAX_SPEC_BYTES)
        except TransferError as error:
            yield from self._failed(latest, str(error), now)
            return
        if self._opened and self._opened.digest == latest.spec.digest:
            yield from self._fetch_parts(self._opened, latest)
        else:
            self._opened, self._architecture = None, None
            yield self._fetch(keys.SpecFetch(self._model), latest.spec, latest)

    def _fetch_parts(self, opened: Opened, coming: ModelLatest) -> Iterator[Action]:
        if opened.blob and self._architecture is None:
            yield self._fetch(keys.StructureFetch(self._model), opened.blob, coming)
        yield self._fetch(keys.WeightsFetch(self._model), weights_of(coming), coming)

    def _fetch(self, key: keys.ModelKey, blob_ref: BlobRef, coming: ModelLatest) -> Fetch:
        location = BlobLocation(blob_ref=blob_ref, source=coming.source)
        return Fetch(key, location, Buffer(blob_ref.size))

    def _load(self, coming: ModelLatest) -> Iterator[Action]:
        opened, architecture, weights = self._opened, self._architecture, self._weights
        if opened and weights is not None and (architecture is not None or not opened.blob):
            spare, self._spare = self._spare, None
            call = partial(
                load_version,
                opened,
                coming,
                architecture,
                weights,
                self._runtime.load,
                spare.predictor if spare and spare.spec == opened.digest else None,
                self._last_good.keep,
            )
            yield Run(keys.VersionLoading(self._model), call)

    def _put_aside(self, coming: ModelLatest, reason: str, now: float) -> Iterator[Action]:
        self.problem = f"version {coming.version} is put aside: {reason}"
        facts = {"model": self._model, "version": coming.version, "reason": reason}
        yield Note("model_put_aside", facts)
        yield from self._drop()
        self._aside = coming
        if self._newest and self._newest.version > coming.version:
            yield from self._next(now)
        elif self._loaded < 0:
            call = partial(self._last_good.recall, self._model)
            yield Run(keys.LastGoodLookup(self._model), call)

    def _recalled(self, last: ModelLatest, now: float) -> Iterator[Action]:
        """Bring the last version that answered here, unless another has come meanwhile."""
        if not self.coming and self._loaded < 0 and self._aside and last != self._aside:
            yield from self._bring(last, now)

    def _drop(self) -> Iterator[Action]:
        for fetch in (keys.SpecFetch, keys.StructureFetch, keys.WeightsFetch):
            yield Cancel(fetch(self._model))
        self.coming, self._opened, self._architecture, self._weights = None, None, None, None

    def _failed(self, coming: ModelLatest, reason: str, now: float) -> Iterator[Action]:
        self.problem = reason
        yield Note(
            "model_not_loaded",
            {"model": self._model, "version": coming.version, "reason": reason},
        )
        yield from self._drop()
        if self._newest and self._newest.version > coming.version:
            yield from self._next(now)
        else:
            pause = min(2.0**self._failures, LONGEST_RELOAD_SECONDS)
            self._failures = min(self._failures + 1, 10)
            yield WakeAt(keys.LoadRetry(self._model), now + pause)


def _lasts(error: Exception) -> bool:
    return isinstance(error, LASTING) and not isinstance(error, TrialNotRun)
