"""Fetching and loading of a model's newest version: spec, architecture, weights. Pure.

One version is loaded at a time, and after it the version that is then the newest, so newer
announcements never end the loading of a version. A version that failed is tried again after
1, 2, 4 … 60 s, or when the repository announces it again. An older version never replaces a newer
one, unless the updater follows an alias, which may name an older one again. What is older is
decided in `announced_versions.py`.

Each attempt to load a version has a number. What a thread reads or loads for an attempt that has
ended, also one of a slot that was closed and opened again, is dropped.

A version that can never be loaded, because its file is damaged, its weights do not fit, or it is
encrypted, is put aside: it is not tried again, and the version before keeps answering. After a
restart there is no version before; then the last one that answered is loaded, if it is known and
the repository still has it.
"""

from collections.abc import Iterator
from functools import partial

from fedbus.core.actions import Action, Cancel, Note, Run, WakeAt
from fedbus.core.events import Event, Fetched, FetchFailed, Ran, RunFailed, Woke
from fedbus.errors import LayoutError, PluginError, TrainingError, TransferError, WireError
from fedbus.frameworks.file_trial import TrialNotRun
from fedbus.limits import MAX_SPEC_BYTES
from fedbus.wire.blobs import ModelRef
from fedbus.wire.documents import ModelLatest
from fedbus_inference import keys
from fedbus_inference.announced_versions import is_newer, is_same_version
from fedbus_inference.last_good import LastGood
from fedbus_inference.loading import check_size, encrypted_reason, load_version
from fedbus_inference.served_version import ServedVersion
from fedbus_inference.serving_context import ServingContext
from fedbus_inference.version_parts import VersionParts

MAX_RETRY_SECONDS = 60.0
MAX_REUSED_BYTES = 256 * 2**20
"""Weights up to which a replaced model is kept in memory, to be reused for the next version."""
PERMANENT_ERRORS = (LayoutError, PluginError, TrainingError, WireError)
"""Faults of a version itself or of this installation, which no retry can correct."""


class ModelUpdater:
    """Loads one version after the other; each ends in `Ran(VersionLoading(model), ServedVersion)`.

    Attributes:
        incoming: The version that is being fetched or loaded; None if there is none.
        awaits_version: Whether it is being found out which version to load.
        problem: Why the last version was not loaded; empty once one is.
    """

    def __init__(
        self,
        model: str,
        context: ServingContext,
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
        self._runtime = context.runtime
        self._settings = context.settings
        self._numbers = context.run_numbers
        self._number: int | None = None  # of the attempt that is under way
        self._last_good = last_good
        self._newest: ModelLatest | None = None
        self._put_aside: ModelLatest | None = None
        self._reusable: ServedVersion | None = None
        self._loaded: ModelLatest | None = None
        self._failures = 0
        self._parts = VersionParts(model, slot, context.runtime, context.settings)

    def announced(self, latest: ModelLatest, now: float) -> Iterator[Action]:
        """Load the announced version, unless it is loaded or put aside already."""
        self.awaits_version = False
        if self._may_go_back or is_newer(latest, self._newest):
            self._newest = latest
        yield from self._start_next(now)

    def loaded(self, now: float) -> Iterator[Action]:
        """Finish the incoming version, and start the newest if it is a later one."""
        self._loaded = self.incoming
        self.incoming, self._number = None, None
        self.problem, self._failures = "", 0
        self._parts.loaded()
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

    def is_current(self, number: int) -> bool:
        """Return whether a run belongs to the attempt that is under way."""
        return number == self._number

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Continue with the incoming version."""
        match event:
            case Ran(keys.LastGoodLookup(), last):
                if last is not None:
                    yield from self._start_last_good(last, now)
            case RunFailed(keys.LastGoodLookup()):
                pass  # as without a stored version
            case Ran(keys.NumberedKey(number=number)) | RunFailed(
                keys.NumberedKey(number=number)
            ) if not self.is_current(number):
                pass  # the attempt has ended
            case RunFailed(_, error) if self.incoming and _is_permanent(error):
                yield from self._set_aside(self.incoming, str(error), now)
            case Woke(keys.LoadRetry()):
                yield from self._start_next(now)
            case FetchFailed(_, reason) if self.incoming:
                yield from self._retry_later(self.incoming, reason, now)
            case RunFailed(_, error) if self.incoming:
                yield from self._retry_later(self.incoming, str(error) or type(error).__name__, now)
            case Ran() if self.incoming:
                yield from self._parts.advance(event, self.incoming)
            case Fetched() if self.incoming:
                yield from self._parts.advance(event, self.incoming)
                if self._parts.is_complete:
                    yield self._load(self.incoming, self._parts)

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
        self.incoming, self._number = latest, next(self._numbers)
        if latest.encryption is not None:
            yield from self._set_aside(latest, encrypted_reason(latest), now)
            return
        try:
            check_size("weights", latest.size, self._settings.max_model_bytes)
            check_size("spec", latest.spec.size, MAX_SPEC_BYTES)
        except TransferError as error:
            yield from self._retry_later(latest, str(error), now)
            return
        yield from self._parts.fetch(latest, self._number)

    def _load(self, incoming: ModelLatest, parts: VersionParts) -> Action:
        opened, weights = parts.opened, parts.weights
        assert opened is not None  # noqa: S101 - the parts are complete
        assert weights is not None  # noqa: S101 - as above
        reusable, self._reusable = self._reusable, None
        call = partial(
            load_version,
            opened,
            incoming,
            parts.architecture,
            weights,
            self._runtime.load,
            reusable.predictor if reusable and reusable.spec_digest == opened.digest else None,
            self._last_good.save,
        )
        return Run(keys.VersionLoading(self._model, self._slot, parts.number), call)

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
        self.incoming, self._number = None, None
        yield from self._parts.abandon()

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
