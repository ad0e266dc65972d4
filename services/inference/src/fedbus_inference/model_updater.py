"""Fetching and loading of a model's newest version: spec, architecture, weights. Pure.

One version is loaded at a time, and after it the version that is then the newest: so every version
that is started is loaded, however fast versions follow each other. A version that failed is tried
again after 1, 2, 4 … 60 s, or when the repository announces it again. An older version never
replaces a newer one, unless the updater follows an alias, which may name an older one again. What
is older is decided in `announced_versions.py`.

A version that can never be loaded, because its file is damaged, its weights do not fit, or it is
encrypted, is put aside: it is not tried again, and the version before keeps answering. After a
restart there is no version before; then the last one that answered is loaded, if it is known and
the repository still has it.
"""

from collections.abc import Iterator
from functools import partial

from fedbus.core.actions import Action, Cancel, Fetch, Note, Run, WakeAt
from fedbus.core.events import Event, Fetched, FetchFailed, Ran, RunFailed, Woke
from fedbus.errors import LayoutError, PluginError, TrainingError, TransferError, WireError
from fedbus.frameworks.file_trial import TrialNotRun
from fedbus.limits import MAX_SPEC_BYTES
from fedbus.wire.blobs import BlobLocation, BlobRef, ModelRef
from fedbus.wire.documents import ModelLatest
from fedbus_inference import keys
from fedbus_inference.announced_versions import is_newer, is_same_version
from fedbus_inference.last_good import LastGood
from fedbus_inference.loading import (
    OpenedSpec,
    Runtime,
    check_size,
    encrypted_reason,
    load_version,
    open_spec,
    weights_ref,
)
from fedbus_inference.served_version import ServedVersion
from fedbus_inference.settings import InferenceSettings

MAX_RETRY_SECONDS = 60.0
MAX_REUSED_BYTES = 256 * 2**20
"""Weights up to which a replaced model is kept in memory, to be reused for the next version."""
PERMANENT_ERRORS = (LayoutError, PluginError, TrainingError, WireError)
"""Faults of a version itself or of this installation, which no retry can correct."""


class MemorySink:
    """A blob in memory: a BlobSink."""

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write bytes at an offset."""
        self.data[offset : offset + len(data)] = data


class ModelUpdater:
    """Loads one version after the other; each ends in `Ran(VersionLoading(model), ServedVersion)`.

    Attributes:
        incoming: The version that is being fetched or loaded; None if there is none.
        awaits_version: Whether it is being found out which version to load.
        problem: Why the last version was not loaded; empty once one is.
    """

    def __init__(  # noqa: PLR0913 - what all slots of a process share, and how this one differs
        self,
        model: str,
        runtime: Runtime,
        settings: InferenceSettings,
        last_good: LastGood,
        slot: str = "",
        *,
        may_go_back: bool = False,
    ) -> None:
        self.incoming: ModelLatest | None = None
        self.problem = ""
        self.awaits_version = False
        self._may_go_back = may_go_back
        self._model, self._slot = model, slot
        self._runtime = runtime
        self._settings = settings
        self._last_good = last_good
        self._newest: ModelLatest | None = None
        self._put_aside: ModelLatest | None = None
        self._reusable: ServedVersion | None = None
        self._loaded: ModelLatest | None = None
        self._failures = 0
        self._opened: OpenedSpec | None = None
        self._architecture: bytearray | None = None
        self._weights: bytearray | None = None

    def announced(self, latest: ModelLatest, now: float) -> Iterator[Action]:
        """Load the announced version, unless it is loaded or put aside already."""
        self.awaits_version = False
        if self._may_go_back or is_newer(latest, self._newest):
            self._newest = latest
        yield from self._start_next(now)

    def loaded(self, now: float) -> Iterator[Action]:
        """Finish the incoming version, and start the newest if it is a later one."""
        self._loaded = self.incoming or self._loaded
        self.incoming, self._weights = None, None
        self.problem, self._failures = "", 0
        yield from self._start_next(now)

    def retired(self, served: ServedVersion) -> None:
        """Keep a replaced model, to load the next version's weights into it.

        TFLite and Keras never free all memory of a model, so a new model for each version would
        make the process grow.
        """
        self._reusable = served if served.weights_bytes <= MAX_REUSED_BYTES else None

    def close(self) -> Iterator[Action]:
        """End fetches and timers: this slot of the model is not used any more."""
        yield from self._abandon()
        yield Cancel(keys.LoadRetry(self._model, self._slot))

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Continue with the incoming version."""
        match event:
            case Ran(keys.LastGoodLookup(), ModelLatest() as last):
                yield from self._start_last_good(last, now)
            case RunFailed(_, error) if self.incoming and _is_permanent(error):
                yield from self._set_aside(self.incoming, str(error), now)
            case Woke(keys.LoadRetry()):
                yield from self._start_next(now)
            case FetchFailed(_, reason) if self.incoming:
                yield from self._retry_later(self.incoming, reason, now)
            case RunFailed(_, error) if self.incoming:
                yield from self._retry_later(self.incoming, str(error) or type(error).__name__, now)
            case _ if self.incoming:
                yield from self._advance(event, self.incoming)

    def _advance(self, event: Event, incoming: ModelLatest) -> Iterator[Action]:
        match event:
            case Fetched(keys.SpecFetch(), MemorySink(data=data)):
                call = partial(open_spec, data, incoming.spec, self._runtime, self._settings)
                yield Run(keys.SpecReading(self._model, self._slot), call)
            case Ran(keys.SpecReading(), OpenedSpec() as opened):
                self._opened = opened
                yield from self._fetch_parts(opened, incoming)
            case Fetched(keys.ArchitectureFetch(), MemorySink(data=data)):
                self._architecture = data
                yield from self._load(incoming)
            case Fetched(keys.WeightsFetch(), MemorySink(data=data)):
                self._weights = data
                yield from self._load(incoming)

    def _start_next(self, now: float) -> Iterator[Action]:
        latest = self._newest
        if self.incoming or latest is None:
            return
        if self._loaded is not None and is_same_version(latest, self._loaded):
            return
        if not (self._may_go_back or is_newer(latest, self._loaded)):
            return
        if latest != self._put_aside:
            yield from self._start(latest, now)

    def _start(self, latest: ModelLatest, now: float) -> Iterator[Action]:
        self.incoming = latest
        if latest.encryption is not None:
            yield from self._set_aside(latest, encrypted_reason(latest), now)
            return
        try:
            check_size("weights", latest.size, self._settings.max_model_bytes)
            check_size("spec", latest.spec.size, MAX_SPEC_BYTES)
        except TransferError as error:
            yield from self._retry_later(latest, str(error), now)
            return
        if self._opened and self._opened.digest == latest.spec.digest:
            yield from self._fetch_parts(self._opened, latest)
        else:
            self._opened, self._architecture = None, None
            yield self._fetch(keys.SpecFetch(self._model, self._slot), latest.spec, latest)

    def _fetch_parts(self, opened: OpenedSpec, incoming: ModelLatest) -> Iterator[Action]:
        if opened.blob and self._architecture is None:
            yield self._fetch(
                keys.ArchitectureFetch(self._model, self._slot), opened.blob, incoming
            )
        yield self._fetch(
            keys.WeightsFetch(self._model, self._slot), weights_ref(incoming), incoming
        )

    def _fetch(self, key: keys.ModelKey, blob_ref: BlobRef, incoming: ModelLatest) -> Fetch:
        location = BlobLocation(blob_ref=blob_ref, source=incoming.source)
        return Fetch(key, location, MemorySink(blob_ref.size))

    def _load(self, incoming: ModelLatest) -> Iterator[Action]:
        opened, architecture, weights = self._opened, self._architecture, self._weights
        if opened and weights is not None and (architecture is not None or not opened.blob):
            reusable, self._reusable = self._reusable, None
            call = partial(
                load_version,
                opened,
                incoming,
                architecture,
                weights,
                self._runtime.load,
                reusable.predictor if reusable and reusable.spec_digest == opened.digest else None,
                self._last_good.save,
            )
            yield Run(keys.VersionLoading(self._model, self._slot), call)

    def _set_aside(self, incoming: ModelLatest, reason: str, now: float) -> Iterator[Action]:
        self.problem = f"version {incoming.version} is put aside: {reason}"
        facts = {"model": self._model, "version": incoming.version, "reason": reason}
        yield Note("model_put_aside", facts)
        yield from self._abandon()
        self._put_aside = incoming
        if self._newest and not is_same_version(self._newest, incoming):
            yield from self._start_next(now)
        elif self._loaded is None:
            call = partial(self._last_good.load, self._model)
            yield Run(keys.LastGoodLookup(self._model, self._slot), call)

    def _start_last_good(self, last: ModelLatest, now: float) -> Iterator[Action]:
        """Load the last version that answered, unless another one was started meanwhile."""
        idle = not self.incoming and self._loaded is None
        if idle and self._put_aside and last != self._put_aside:
            yield from self._start(last, now)

    def _abandon(self) -> Iterator[Action]:
        for fetch in (keys.SpecFetch, keys.ArchitectureFetch, keys.WeightsFetch):
            yield Cancel(fetch(self._model, self._slot))
        self.incoming, self._opened, self._architecture, self._weights = None, None, None, None

    def _retry_later(self, incoming: ModelLatest, reason: str, now: float) -> Iterator[Action]:
        self.problem = reason
        facts = {"model": self._model, "version": incoming.version, "reason": reason}
        yield Note("model_not_loaded", facts)
        yield from self._abandon()
        if self._newest and not is_same_version(self._newest, incoming):
            yield from self._start_next(now)
        else:
            pause = min(2.0**self._failures, MAX_RETRY_SECONDS)
            self._failures = min(self._failures + 1, 10)
            yield WakeAt(keys.LoadRetry(self._model, self._slot), now + pause)


def latest_of(ref: ModelRef) -> ModelLatest:
    """Return a version as the announcement of a newest one describes it."""
    return ModelLatest(
        model=ref.model,
        version=ref.version,
        digest=ref.weights.digest,
        size=ref.weights.size,
        spec=ref.spec,
        source=ref.source,
        metrics={},
        parent=None,
        job=None,
        round=0,
        encryption=ref.encryption,
    )


def _is_permanent(error: Exception) -> bool:
    return isinstance(error, PERMANENT_ERRORS) and not isinstance(error, TrialNotRun)
