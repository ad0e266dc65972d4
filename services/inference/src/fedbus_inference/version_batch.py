"""Batch of requests that one version answers in one run. Pure."""

from collections.abc import Iterator

from fedbus_inference.canary import Tally
from fedbus_inference.local_requests import RefusalKind
from fedbus_inference.prediction import BatchResult, Request, answer_requests
from fedbus_inference.prediction_pace import MAX_BRIEF_BYTES
from fedbus_inference.prediction_queue import QueuedRequest
from fedbus_inference.served_version import ServedVersion
from fedbus_inference.serving_context import Clock


class Batch:
    """Requests of one run. Others may join one that runs in the event loop until it begins.

    Attributes:
        number: Of the run, among all of the process.
        served: The version that answers.
        tally: Of that version.
        queued: The requests, in order.
        size: Bytes that they hold.
        is_open: Whether others may join.
        has_begun: Whether a thread, or the event loop, computes it or has computed it.
    """

    def __init__(
        self,
        number: int,
        served: ServedVersion,
        tally: Tally,
        queued: list[QueuedRequest],
        *,
        brief_requests: int,
    ) -> None:
        self.number = number
        self.served = served
        self.tally = tally
        self.queued = queued
        self.size = sum(each.request.size for each in queued)
        self._refused: set[int] = set()  # by their ids: requests with arrays have no equality
        self._most = brief_requests
        self.is_open = len(queued) <= brief_requests and self.size <= MAX_BRIEF_BYTES
        self._is_brief = self.is_open
        self.has_begun = False

    def may_join(self, queued: QueuedRequest) -> bool:
        """Return whether the batch has not begun, and stays brief with this request."""
        return (
            self.is_open
            and len(self.queued) < self._most
            and self.size + queued.request.size <= MAX_BRIEF_BYTES
            and queued.version in {None, self.served.version}
        )

    def join(self, queued: QueuedRequest) -> None:
        """Add a request."""
        self.queued.append(queued)
        self.size += queued.request.size

    def begin(self) -> list[Request]:
        """Close the batch, and return its requests, without those that were refused meanwhile.

        A thread calls this, once it is free to compute them.
        """
        self.is_open = False
        self.has_begun = True
        self.queued = list(self.waiting())
        return [each.request for each in self.queued]

    def count(self, queued: QueuedRequest, refusal: RefusalKind | None) -> None:
        """Count a request for the version that was asked first.

        A canary has failed at what the version beside it answers, or fails at as well. A request
        that both refuse as wrong is wrong.
        """
        if queued.failed_at is not None:
            queued.failed_at.failed += refusal is not RefusalKind.INVALID
        elif refusal is None:
            self.tally.answered += 1
        elif refusal is RefusalKind.FAILED:
            self.tally.failed += 1

    def waiting(self) -> Iterator[QueuedRequest]:
        """Yield the requests that were not refused meanwhile."""
        yield from (each for each in self.queued if not self.is_refused(each))

    def is_refused(self, queued: QueuedRequest) -> bool:
        """Return whether a request was refused at its deadline."""
        return id(queued) in self._refused

    def next_deadline(self) -> float | None:
        """Return the first deadline; None if no client waits, or the event loop computes it."""
        if self._is_brief:
            return None
        return min((each.deadline for each in self.waiting()), default=None)

    def refuse_expired(self, now: float) -> list[QueuedRequest]:
        """Mark the requests as refused whose clients do not wait any more, and return them."""
        expired = [each for each in self.waiting() if each.deadline <= now]
        self._refused.update(map(id, expired))
        return expired


def answer_batch(batch: Batch, max_elements: int, max_rows: int, clock: Clock) -> BatchResult:
    """Answer the requests of a batch, and measure how long that takes."""
    began = clock()
    result = answer_requests(batch.served, batch.begin(), max_elements, max_rows)
    return BatchResult(result.results, result.failure, clock() - began)
