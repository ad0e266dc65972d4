"""Server of one model: queue of requests, predictions in a thread, swap to a newer version. Pure.

One prediction runs at a time, since a framework's model is used by one thread at a time; requests
that arrive meanwhile form the next batch. A batch is answered by the version that it was started
with.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from fedbus.core.actions import Action, Note, Run, WakeAt
from fedbus.core.events import Event, Ran, RunFailed, Stopping, Woke
from fedbus.errors import WireError
from fedbus_inference import keys
from fedbus_inference.last_good import LastGood
from fedbus_inference.loading import Runtime
from fedbus_inference.local_requests import LocalPrediction, RefusalKind
from fedbus_inference.model_updater import ModelUpdater
from fedbus_inference.prediction import (
    BatchResult,
    Request,
    answer_requests,
    refuse_request,
)
from fedbus_inference.served_version import ServedVersion
from fedbus_inference.serving_status import ModelStatus, VersionStatus
from fedbus_inference.settings import InferenceSettings

MAX_QUEUED_BYTES: Final = 32 * 2**20
"""Payloads of the queued requests of one model together."""


@dataclass(frozen=True, slots=True)
class _QueuedRequest:
    request: Request
    deadline: float


class ModelServer:
    """Answers the requests for one model.

    Attributes:
        served: The version that answers; None until the first is loaded.
    """

    def __init__(
        self,
        model: str,
        runtime: Runtime,
        settings: InferenceSettings,
        counts: "Counter[str]",
        last_good: LastGood,
    ) -> None:
        self.served: ServedVersion | None = None
        self.updater = ModelUpdater(model, runtime, settings, last_good)
        self._old: ServedVersion | None = None  # may still compute the running batch
        self._model = model
        self._settings = settings
        self._counts = counts
        self._queue: deque[_QueuedRequest] = deque()
        self._queued_bytes = 0
        self._running: tuple[Request, ...] = ()
        self._timer_set = False
        self._failed_version = -1

    def request(self, request: Request, now: float) -> Iterator[Action]:
        """Queue a request, or refuse it with the reason."""
        full = len(self._queue) >= self._settings.max_queued_requests
        size = request.size
        if self.served is None and self.updater.incoming is None:
            sentence = f"no version could be loaded yet: {self.updater.problem}"
            yield self._refuse(request, RefusalKind.LOADING, sentence)
        elif full or self._queued_bytes + size > MAX_QUEUED_BYTES:
            sentence = f"{len(self._queue)} requests are queued already; ask again in a moment"
            yield self._refuse(request, RefusalKind.OVERLOADED, sentence)
        else:
            seconds = self._settings.request_timeout_seconds
            if isinstance(request, LocalPrediction) and request.timeout is not None:
                seconds = request.timeout
            deadline = now + seconds
            self._queue.append(_QueuedRequest(request, deadline))
            self._queued_bytes += size
            yield from self._predict()
            yield from self._set_timer()

    def check_choice(self, choice: str) -> None:
        """Raise WireError for a version that does not answer here."""
        serving = None if self.served is None else str(self.served.version)
        if choice not in {"", serving}:
            raise WireError(
                f"model {self._model!r}: version {choice[:64]!r} is not served here; "
                f"served: {serving or 'none yet'}"
            )

    def status(self) -> ModelStatus:
        """Return which versions answer, or why none does."""
        versions = []
        incoming = self.updater.incoming
        if incoming and (self.served is None or incoming.version != self.served.version):
            reason = self.updater.problem or "it is being loaded"
            versions.append(VersionStatus(incoming.version, None, reason))
        if self.served is not None:
            versions.append(VersionStatus(self.served.version, self.served))
            return ModelStatus(self._model, self.served.version, tuple(reversed(versions)))
        reason = self.updater.problem or "the first version is being loaded"
        return ModelStatus(self._model, None, tuple(versions), reason)

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Handle an event of this model."""
        match event:
            case Ran(keys.Prediction(), BatchResult() as result):
                yield from self._predicted(result)
            case RunFailed(keys.Prediction(), error):
                yield from self._prediction_failed(error)
            case Ran(keys.VersionLoading(), ServedVersion() as served):
                yield from self._swap(served, now)
            case Woke(keys.RequestDeadline()):
                yield from self._refuse_expired(now)
            case Stopping():
                for request in self._take_queue():
                    sentence = "this replica is stopping; ask again"
                    yield self._refuse(request, RefusalKind.STOPPING, sentence)
            case _:
                yield from self.updater.handle(event, now)

    def _swap(self, served: ServedVersion, now: float) -> Iterator[Action]:
        self._old, self.served = self.served, served
        if not self._running:
            self._retire_old()
        yield Note("model_swapped", {"model": self._model, "version": served.version})
        yield from self.updater.loaded(served, now)
        yield from self._predict()

    def _retire_old(self) -> None:
        old, self._old = self._old, None
        if old is not None:
            self.updater.retired(old)

    def _predict(self) -> Iterator[Action]:
        if self.served is None or self._running or not self._queue:
            return
        self._running = self._take_queue()
        limit = self._settings.max_input_elements
        call = partial(answer_requests, self.served, self._running, limit)
        yield Run(keys.Prediction(self._model), call)

    def _predicted(self, result: BatchResult) -> Iterator[Action]:
        self._running = ()
        self._retire_old()
        self._counts["requests_answered"] += len(result.replies) - result.refused
        self._counts["requests_refused"] += result.refused
        yield from result.replies
        if result.failure:
            yield from self._note_failure(result.failure)
        yield from self._predict()

    def _prediction_failed(self, error: Exception) -> Iterator[Action]:
        running, self._running = self._running, ()
        self._retire_old()
        failure = f"{type(error).__name__}: {error}"
        for request in running:
            yield self._refuse(request, RefusalKind.FAILED, f"the prediction failed: {failure}")
        yield from self._note_failure(failure)
        yield from self._predict()

    def _note_failure(self, failure: str) -> Iterator[Action]:
        # Once for each version: a client could otherwise fill the log.
        version = self.served.version if self.served else -1
        if version != self._failed_version:
            self._failed_version = version
            facts = {"model": self._model, "version": version, "reason": failure}
            yield Note("prediction_failed", facts)

    def _set_timer(self) -> Iterator[Action]:
        if self._queue and not self._timer_set:
            self._timer_set = True
            yield WakeAt(keys.RequestDeadline(self._model), self._queue[0].deadline)

    def _refuse_expired(self, now: float) -> Iterator[Action]:
        self._timer_set = False
        while self._queue and self._queue[0].deadline <= now:
            request = self._queue.popleft().request
            self._queued_bytes -= request.size
            why = self.updater.problem or "the model is still loading, or busy"
            seconds = f"{self._settings.request_timeout_seconds:g} s"
            sentence = f"no answer within {seconds}: {why}; ask again"
            yield self._refuse(request, RefusalKind.DEADLINE, sentence)
        yield from self._set_timer()

    def _take_queue(self) -> tuple[Request, ...]:
        taken = tuple(queued.request for queued in self._queue)
        self._queue.clear()
        self._queued_bytes = 0
        return taken

    def _refuse(self, request: Request, kind: RefusalKind, sentence: str) -> Action:
        self._counts["requests_refused"] += 1
        return refuse_request(request, self._model, kind, sentence)
