"""Queue of the requests that wait for one model, in order, bounded by number and bytes. Pure."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fedbus_inference.canary import Tally
from fedbus_inference.local_requests import LocalPrediction
from fedbus_inference.prediction import Request

MAX_QUEUED_BYTES: Final = 32 * 2**20
"""Payloads of the queued requests of one model together."""


@dataclass(frozen=True, slots=True)
class QueuedRequest:
    """A request, when it arrived, and until when its client waits, in seconds of the core's clock.

    `version` is the only version that may answer it; None: whichever serves. `failed_at`: of the
    canary that did not answer it.
    """

    request: Request
    arrived: float
    deadline: float
    version: int | None = None
    failed_at: Tally | None = None


def arriving(
    request: Request, now: float, own_seconds: float, version: int | None
) -> QueuedRequest:
    """Return a request that arrives now; it waits for its own limit, at most `own_seconds`."""
    seconds = own_seconds if request.timeout is None else request.timeout
    if not isinstance(request, LocalPrediction):  # a process's own servers check their clients
        seconds = min(own_seconds, seconds)
    return QueuedRequest(request, now, now + seconds, version)


class PredictionQueue:
    """Requests in the order in which they arrived.

    Attributes:
        bytes: Of the payloads and arrays that wait.
    """

    def __init__(self, max_requests: int) -> None:
        self.bytes = 0
        self._max_requests = max_requests
        self._waiting: deque[QueuedRequest] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def has_room(self, size: int) -> bool:
        """Return whether a request of this size may wait."""
        return len(self._waiting) < self._max_requests and self.bytes + size <= MAX_QUEUED_BYTES

    def add(self, queued: QueuedRequest) -> None:
        """Append a request."""
        self._waiting.append(queued)
        self.bytes += queued.request.size

    def take(self, count: int) -> list[QueuedRequest]:
        """Remove and return the first requests, at most `count`."""
        taken = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
        self.bytes -= sum(queued.request.size for queued in taken)
        return taken

    def take_expired(self, now: float) -> list[QueuedRequest]:
        """Remove and return the requests whose clients do not wait any more."""
        if all(queued.deadline > now for queued in self._waiting):
            return []
        return self._keep_if(lambda queued: queued.deadline > now)

    def take_other_versions(self, version: int) -> list[QueuedRequest]:
        """Remove and return the requests that this version may not answer."""
        return self._keep_if(lambda queued: queued.version in {None, version})

    @property
    def oldest(self) -> float | None:
        """Return when the first request arrived; None if the queue is empty."""
        return self._waiting[0].arrived if self._waiting else None

    def start_of_batch(self, most: int, wait_seconds: float) -> float:
        """Return when the next batch starts at the latest: at once, if it has `most` requests."""
        oldest = self.oldest
        return 0.0 if oldest is None or len(self) >= most else oldest + wait_seconds

    def next_deadline(self) -> float | None:
        """Return the first deadline; None if the queue is empty."""
        return min((queued.deadline for queued in self._waiting), default=None)

    def _keep_if(self, stays: Callable[[QueuedRequest], bool]) -> list[QueuedRequest]:
        removed = [queued for queued in self._waiting if not stays(queued)]
        self._waiting = deque(queued for queued in self._waiting if stays(queued))
        self.bytes -= sum(queued.request.size for queued in removed)
        return removed
