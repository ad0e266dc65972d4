"""Outcomes of the requests of one slot: answered, refused, or left to another slot. Pure."""

from collections.abc import Iterator
from dataclasses import replace

from fedbus.core.actions import Action, Note, Reply
from fedbus_inference.canary import Tally
from fedbus_inference.local_requests import RefusalKind
from fedbus_inference.prediction import (
    Answer,
    BatchResult,
    PredictionRequest,
    Request,
    refuse_request,
)
from fedbus_inference.prediction_queue import QueuedRequest
from fedbus_inference.serving_context import ServingContext
from fedbus_inference.version_batch import Batch


class SlotOutcomes:
    """Counts what becomes of requests, and returns the replies.

    Attributes:
        answered: Requests and answers of the last batch, if `keeps_answered`.
        failed: Requests that were not answered, if `hands_over`: another slot answers them.
    """

    def __init__(self, model: str, context: ServingContext) -> None:
        self.answered: list[tuple[Request, Answer]] = []
        self.keeps_answered = False
        self.failed: list[QueuedRequest] = []
        self.hands_over = False
        self._model = model
        self._stats = context.stats
        self._recent = context.recent
        self._failed_version = -1

    def refuse(
        self,
        queued: QueuedRequest,
        kind: RefusalKind,
        sentence: str,
        now: float,
        retry_after: float = 0.0,
    ) -> Action:
        """Count a request as refused, and return the reply."""
        self._stats.refused(self._model, kind, sentence, now - queued.arrived)
        if isinstance(queued.request, PredictionRequest):
            self._recent.refused(queued.request.reply)
        return refuse_request(queued.request, self._model, kind, sentence, retry_after)

    def refuse_late(
        self, queued: QueuedRequest, tally: Tally | None, why: str, now: float
    ) -> Action:
        """Refuse a request at its deadline; `tally`: of the version that did not answer it."""
        _count_failure(queued, tally)
        seconds = f"{queued.deadline - queued.arrived:g} s"
        sentence = f"no answer within {seconds}: {why}; ask again"
        return self.refuse(queued, RefusalKind.DEADLINE, sentence, now)

    def refuse_overload(
        self, queued: QueuedRequest, tally: Tally | None, waiting: int, wait: float, now: float
    ) -> Action:
        """Refuse a request because `waiting` others wait; there is room in about `wait` seconds."""
        _count_failure(queued, tally)
        sentence = (
            f"overloaded: requests that wait for this model: {waiting}; "
            f"ask again in about {max(round(wait * 1000), 1)} ms"
        )
        return self.refuse(queued, RefusalKind.OVERLOADED, sentence, now, wait)

    def predicted(self, batch: Batch, result: BatchResult, now: float) -> Iterator[Action]:
        """Yield the answers of a batch, but those to clients that were refused meanwhile."""
        version = batch.served.version
        if result.results:  # none: all were refused before a thread was free
            self._stats.batch(self._model, len(result.results))
        for queued, each in zip(batch.queued, result.results, strict=True):
            if batch.is_refused(queued):
                continue
            if self.hands_over and each.refusal is not None:
                self.failed.append(replace(queued, failed_at=batch.tally))
                continue
            seconds = now - queued.arrived
            batch.count(queued, each.refusal)
            if self.keeps_answered and each.refusal is None:
                self.answered.append((queued.request, each.answer))
            if each.refusal is None:
                self._stats.answered(self._model, version, seconds)
            else:
                self._stats.refused(self._model, each.refusal, each.error, seconds)
            if isinstance(each.answer, Reply):
                if each.refusal is None:
                    self._recent.answered(each.answer)
                else:
                    self._recent.refused(each.answer.to)
            yield each.answer
        if result.failure:
            yield from self._note_failure(version, result.failure)

    def prediction_failed(self, batch: Batch, error: Exception, now: float) -> Iterator[Action]:
        """Refuse the requests of a batch that ended with an error, or hand them over."""
        failure = f"{type(error).__name__}: {error}"
        for queued in batch.waiting():
            if self.hands_over:
                self.failed.append(replace(queued, failed_at=batch.tally))
                continue
            batch.count(queued, RefusalKind.FAILED)
            sentence = f"the prediction failed: {failure}"
            yield self.refuse(queued, RefusalKind.FAILED, sentence, now)
        yield from self._note_failure(batch.served.version, failure)

    def _note_failure(self, version: int, failure: str) -> Iterator[Action]:
        # Once for each version: a client could otherwise fill the log.
        if version != self._failed_version:
            self._failed_version = version
            facts = {"model": self._model, "version": version, "reason": failure}
            yield Note("prediction_failed", facts)


def _count_failure(queued: QueuedRequest, tally: Tally | None) -> None:
    if tally is not None:
        (queued.failed_at or tally).failed += 1
