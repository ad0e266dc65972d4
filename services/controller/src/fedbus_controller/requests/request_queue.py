"""Queue of undecided requests, bounded, oldest first. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from fedbus.core.events import ReplyTo
from fedbus.wire.privacy import PrivacyTerms
from fedbus_controller.requests.job_files import ProposedId

MAX_HELD_REQUESTS = 100
MAX_HELD_BYTES = 8 * 2**20
RENEWALS_BEFORE_RELEASE = 3
"""Lease renewals of another controller, after which a request is left to it."""


@dataclass(slots=True, kw_only=True)
class UserRequest:
    """A submitted job file, or a cancellation.

    Attributes:
        job: The job's id, as far as it can be read.
        topic_job: The id in the topic that the request is retained on; "" if it is not.
        receipt: Of the broker's message; None without one, or after a reconnect.
        unanswerable: Why no reply can be sent, if `reply` is None.
        redelivered: The broker delivered the request before; its job may have been stored.
        terms: What the job promises; None before it is read, and without a privacy mechanism.
        proposal: The proposed id, which stays the same when the request is submitted again.
        renewals: Lease renewals of another controller since the request arrived.
    """

    is_cancel: bool
    payload: bytes
    reply: ReplyTo | None
    job: str
    topic_job: str
    receipt: int | None
    unanswerable: str = ""
    redelivered: bool = False
    terms: PrivacyTerms | None = None
    proposal: ProposedId | None = None
    renewals: int = 0

    def is_same(self, other: "UserRequest") -> bool:
        """Return whether it is the same request of the same client."""
        return (self.is_cancel, self.payload, self.reply, self.topic_job) == (
            other.is_cancel,
            other.payload,
            other.reply,
            other.topic_job,
        )

    def repeated(self, receipt: int | None) -> int | None:
        """Note that the request was delivered again; return the receipt to settle."""
        if self.receipt is not None:
            return receipt
        self.receipt = receipt
        return None


class RequestQueue:
    """Requests that are not decided."""

    def __init__(self) -> None:
        self._requests: list[UserRequest] = []

    def __iter__(self) -> Iterator[UserRequest]:
        return iter(self._requests)

    def __len__(self) -> int:
        return len(self._requests)

    def has_room(self, request: UserRequest) -> bool:
        """Return whether a request fits; any request fits into an empty queue."""
        count = len(self._requests)
        size = sum(len(each.payload) for each in self._requests) + len(request.payload)
        return count < MAX_HELD_REQUESTS and (not count or size <= MAX_HELD_BYTES)

    def push(self, request: UserRequest) -> list[UserRequest]:
        """Append a request; remove and return the oldest that have no room any more."""
        dropped = []
        while not self.has_room(request):
            dropped.append(self._requests.pop(0))
        self._requests.append(request)
        return dropped

    def take_all(self) -> list[UserRequest]:
        """Remove and return all requests."""
        taken, self._requests = self._requests, []
        return taken

    def put_back(self, requests: Iterable[UserRequest]) -> None:
        """Append requests that were taken."""
        self._requests += requests

    def drop(self, which: Callable[[UserRequest], bool]) -> list[UserRequest]:
        """Remove and return the requests for which `which` is true."""
        dropped = [request for request in self._requests if which(request)]
        self._requests = [request for request in self._requests if not which(request)]
        return dropped

    def lease_renewed_elsewhere(self) -> list[UserRequest]:
        """Count a renewal; remove and return the requests with RENEWALS_BEFORE_RELEASE."""
        for request in self._requests:
            request.renewals += 1
        return self.drop(lambda request: request.renewals >= RENEWALS_BEFORE_RELEASE)
