"""Server of one slot of a model: a queue, predictions in batches, swap to another version. Pure.

One prediction runs at a time, since a framework's model is used by one thread at a time; requests
that arrive meanwhile form the next batch. A batch is answered by the version that it was started
with. Short batches are computed in the event loop, others in a thread (`prediction_pace.py`).

A request is refused at its deadline, also while a thread computes its batch. If the batch of a
replaced version, or of a slot that is to be closed, still runs when all its clients were refused,
it counts as hung: its thread is left to itself, as long as there are few such threads
(`hung_predictions.py`). A batch that still waits for a thread has none, and is dropped.
"""

from collections.abc import Generator, Iterator
from functools import partial

from fedbus.core.actions import Action, Cancel, Note, Run, WakeAt
from fedbus.core.events import Event, Ran, RunFailed, Woke
from fedbus.text import without_folders
from fedbus_inference import keys
from fedbus_inference.canary import Tally
from fedbus_inference.local_requests import RefusalKind
from fedbus_inference.model_updater import ModelUpdater
from fedbus_inference.prediction import (
    BatchResult,
    Request,
)
from fedbus_inference.prediction_pace import MIN_BRIEF_REQUESTS, PredictionPace
from fedbus_inference.prediction_queue import PredictionQueue, QueuedRequest, arriving
from fedbus_inference.served_version import ServedVersion
from fedbus_inference.serving_context import ServingContext
from fedbus_inference.serving_status import VersionStatus
from fedbus_inference.slot_outcomes import SlotOutcomes
from fedbus_inference.version_batch import Batch, answer_batch


class VersionServer:
    """Answers the requests for one slot of a model.

    Attributes:
        served: The version that answers; None until the first is loaded.
        updater: Loads the next version.
        tally: Requests that the version which answers has answered, or failed at.
        outcomes: What became of the requests.
    """

    def __init__(
        self,
        model: str,
        slot: str,
        updater: ModelUpdater,
        context: ServingContext,
        *,
        is_trial: bool = False,
    ) -> None:
        self.served: ServedVersion | None = None
        self.updater = updater
        self.tally = Tally()
        self.outcomes = SlotOutcomes(model, context)
        self._is_trial = is_trial
        self._model, self._slot = model, slot
        self._settings = settings = context.settings
        self._stats = context.stats
        self._recent = context.recent
        self._clock = context.clock
        self._old: ServedVersion | None = None  # may still compute the running batch
        self._queue = PredictionQueue(settings.max_queued_requests)
        self._running: Batch | None = None
        self._run_numbers = context.run_numbers
        self._apart = is_trial
        self._pace = PredictionPace()
        self._expiry: float | None = None

    @property
    def is_idle(self) -> bool:
        """Return whether no request is queued or being answered, and no version being loaded."""
        return self._running is None and not self._queue and self.updater.incoming is None

    def become_idle(self) -> Generator[Action, None, bool]:
        """Leave a batch that hangs, because the slot is to be closed; return whether it is idle.

        It is not while a client waits, while a version is loaded, or while too many threads hang.
        """
        if self._running and not self._queue and self.updater.incoming is None:
            yield from self._give_up(self._running)
        return self.is_idle

    def close(self) -> Iterator[Action]:
        """End timers and fetches of an idle slot, which is not used any more."""
        self._stats.queued.pop((self._model, self._slot), None)
        yield from self.updater.close()
        for kind in (keys.RequestDeadline, keys.BatchWait):
            yield Cancel(kind(self._model, self._slot))

    def request(self, request: Request, now: float, version: int | None = None) -> Iterator[Action]:
        """Queue a request, or refuse it with the reason; `version`: no other one may answer it."""
        seconds = self._settings.request_timeout_seconds
        yield from self.request_again(arriving(request, now, seconds, version), now)

    def request_again(self, queued: QueuedRequest, now: float) -> Iterator[Action]:
        """Queue a request that has waited in another slot, or refuse it with the reason."""
        expects = self.updater.incoming is not None or self.updater.awaits_version
        if self.served is None and not expects:
            sentence = f"no version could be loaded yet: {self.updater.problem}"
            yield self.outcomes.refuse(queued, RefusalKind.LOADING, sentence, now)
        elif queued.deadline <= now:
            sentence = "no time is left to answer: the request's own time limit is over"
            yield self.outcomes.refuse(queued, RefusalKind.DEADLINE, sentence, now)
        elif self._running and not self._queue and self._running.may_join(queued):
            self._running.join(queued)
        elif not self._queue.has_room(queued.request.size):
            waiting = len(self._queue)
            wait = self._pace.wait(waiting + 1)
            yield self.outcomes.refuse_overload(queued, self._failing(), waiting, wait, now)
        else:
            self._queue.add(queued)
            yield from self._predict(now)
            yield from self._set_timer()
            self._count_queue()

    def statuses(self) -> list[VersionStatus]:
        """Return the version that answers, and the one that is being loaded."""
        found, incoming = [], self.updater.incoming
        if self.served is not None:
            found.append(VersionStatus(self.served.version, self.served))
        if incoming and (self.served is None or incoming.version != self.served.version):
            reason = without_folders(self.updater.problem) or "it is being loaded"
            found.append(VersionStatus(incoming.version, None, reason))
        return found

    def take_strays(self) -> list[QueuedRequest]:
        """Remove and return the queued requests for a version that does not answer here now."""
        return [] if self.served is None else self._queue.take_other_versions(self.served.version)

    def hand_over_queue(self) -> None:
        """Hand what is queued over: another slot answers it."""
        self.outcomes.failed += self._queue.take(len(self._queue))
        self._count_queue()

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Handle an event of this slot."""
        match event:
            case Ran(keys.Prediction(number=number), BatchResult() as result):
                if batch := self._end_batch(number):
                    if result.results:  # none: all were refused before a thread was free
                        self._pace.measured(result.seconds, len(result.results))
                    yield from self.outcomes.predicted(batch, result, now)
                    yield from self._predict(now)
            case RunFailed(keys.Prediction(number=number), error):
                if batch := self._end_batch(number):
                    yield from self.outcomes.prediction_failed(batch, error, now)
                    yield from self._predict(now)
            case Ran(keys.VersionLoading(number=number), ServedVersion() as served) if (
                self.updater.is_current(number)
            ):
                yield from self._swap(served, now)
            case Woke(keys.RequestDeadline()):
                yield from self._refuse_expired(now)
            case Woke(keys.BatchWait()):
                yield from self._predict(now)
            case _:
                yield from self.updater.handle(event, now)
        self._count_queue()

    def refuse_all(self, kind: RefusalKind, sentence: str, now: float) -> Iterator[Action]:
        """Refuse what is queued: this slot ends."""
        for queued in self._queue.take(len(self._queue)):
            yield self.outcomes.refuse(queued, kind, sentence, now)

    def _predict(self, now: float) -> Iterator[Action]:
        """Start the next batch, unless one runs or may wait for more requests."""
        if self.served is None or self._running or not self._queue:
            return
        settings = self._settings
        start = self._queue.start_of_batch(settings.max_batch_rows, settings.batch_wait_ms / 1000)
        if start > now:
            yield WakeAt(keys.BatchWait(self._model, self._slot), start)
            return
        for queued in self._queue.take_expired(now):
            yield self._refuse_late(queued, now)
        if not self._queue:
            return
        brief_requests = 0
        if not self._is_trial and self.served.is_steady:
            brief_requests = min(self._pace.brief_requests(), settings.max_batch_rows)
        count = settings.max_batch_rows
        if brief_requests and brief_requests >= min(MIN_BRIEF_REQUESTS, len(self._queue)):
            count = brief_requests
        taken = self._queue.take(count)
        number = next(self._run_numbers)
        batch = Batch(number, self.served, self.tally, taken, brief_requests=brief_requests)
        self._running = batch
        call = partial(
            answer_batch,
            batch,
            settings.max_input_elements,
            settings.max_batch_rows,
            self._clock,
        )
        key = keys.Prediction(self._model, self._slot, batch.number)
        apart = self._apart or len(self._stats.hung) > 0  # those that hang may have all the others
        yield Run(key, call, batch.is_open, apart)
        yield from self._set_timer()

    def _count_queue(self) -> None:
        self._stats.queued[self._model, self._slot] = len(self._queue)

    def _end_batch(self, number: int) -> Batch | None:
        """End the running batch; None: this is one that was given up."""
        self._stats.hung.ended(number)
        batch = self._running
        if batch is None or batch.number != number:
            return None
        self._running = None
        self._retire_old()
        return batch

    def _give_up_replaced(self) -> Iterator[Action]:
        """Leave the batch of a replaced version, once no client waits for it."""
        if self._running and self._running.served is not self.served:
            yield from self._give_up(self._running)

    def _give_up(self, batch: Batch) -> Iterator[Action]:
        """Leave the running batch to its thread, if it has one and no client waits for it."""
        if any(batch.waiting()):
            return
        hung, facts = self._stats.hung, (batch.number, self._model, batch.served.version)
        if batch.has_begun and hung.problem:
            yield from hung.keep(*facts)
            return
        self._running = None
        self._apart = True  # its thread, or the one that it waited for, is lost to the others
        if batch.has_begun:
            if self._old is batch.served:
                self._old = None  # its thread still uses it
            yield from hung.give_up(*facts)
        self._retire_old()

    def _swap(self, served: ServedVersion, now: float) -> Iterator[Action]:
        self._old, self.served, self.tally = self.served, served, Tally()
        if self._running is None:
            self._retire_old()
        self._recent.versions_changed(self._model)
        yield Note("model_swapped", {"model": self._model, "version": served.version})
        yield from self._give_up_replaced()
        yield from self.updater.loaded(now)
        yield from self._predict(now)

    def _retire_old(self) -> None:
        old, self._old = self._old, None
        if old is not None:
            self.updater.retired(old)

    def _set_timer(self) -> Iterator[Action]:
        running = None if self._running is None else self._running.next_deadline()
        known = [each for each in (self._queue.next_deadline(), running) if each is not None]
        at = min(known, default=None)
        if at is not None and (self._expiry is None or at < self._expiry):
            self._expiry = at
            yield WakeAt(keys.RequestDeadline(self._model, self._slot), at)

    def _refuse_expired(self, now: float) -> Iterator[Action]:
        self._expiry = None
        for queued in self._queue.take_expired(now):
            yield self._refuse_late(queued, now)
        for queued in self._running.refuse_expired(now) if self._running else ():
            yield self._refuse_late(queued, now)
        yield from self._give_up_replaced()
        yield from self._predict(now)
        yield from self._set_timer()

    def _refuse_late(self, queued: QueuedRequest, now: float) -> Action:
        problem = self.updater.problem or self._stats.hung.problem
        why = problem or "the model is still loading, or busy"
        return self.outcomes.refuse_late(queued, self._failing(), why, now)

    def _failing(self) -> Tally | None:
        """Return the tally of the version that did not answer; None if there is no version."""
        return None if self.served is None else self.tally
