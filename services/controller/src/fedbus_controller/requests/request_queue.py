"""Requests that nobody has decided yet: a bounded queue, oldest first. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from fedbus.core.events import ReplyTo
from fedbus_controller.requests.job_ids import ProposedId

MAX_HELD_REQUESTS = 100
MAX_HELD_BYTES = 8 * 2**20
PROOFS = 3
"""So often another controller has to renew its lease before we leave a request to it."""


@dataclass(slots=True, kw_only=True)
class UserRequest:
    """A job file, or the wish to cancel a job.

    Attributes:
        job: The job's id, as far as it can be read.
        place: The id in the topic it is retained on; "" if it is not.
        receipt: Of the broker, which keeps it; None where it does not, or its connection is over.
        unanswerable: Why its asker cannot be answered, where `reply` is None.
        redelivered: The broker had delivered it before, perhaps to who had its job stored.
        proposal: The id that was asked for; it stays the same, however often that is.
        proofs: How often another controller proved, since it came, that it leads.
    """

    is_cancel: bool
    payload: bytes
    reply: ReplyTo | None
    job: str
    place: str
    receipt: int | None
    unanswerable: str = ""
    redelivered: bool = False
    proposal: ProposedId | None = None
    proofs: int = 0

    def same(self, other: "UserRequest") -> bool:
        """Tell whether it is the same wish of the same asker."""
        return (self.is_cancel, self.payload, self.reply, self.place) == (
            other.is_cancel,
            other.payload,
            other.reply,
            other.place,
        )

    def said_again(self, receipt: int | None) -> int | None:
        """Note that it came again; return the receipt that is of no more use."""
        if self.receipt is not None:
            return receipt
        self.receipt = receipt
        return None


class RequestQueue:
    """The queue."""

    def __init__(self) -> None:
        self._requests: list[UserRequest] = []

    def __iter__(self) -> Iterator[UserRequest]:
        return iter(self._requests)

    def full(self, another: UserRequest) -> str:
        """Say how much is held, if there is no room for another; nothing if there is."""
        size = sum(len(request.payload) for request in self._requests) + len(another.payload)
        count = len(self._requests)
        return (
            f"{count} requests"
            if count >= MAX_HELD_REQUESTS or (count and size > MAX_HELD_BYTES)
            else ""
        )

    def hold(self, request: UserRequest) -> list[UserRequest]:
        """Put a request last; returns those at the front that had to go for it."""
        gone = []
        while self.full(request):
            gone.append(self._requests.pop(0))
        self._requests.append(request)
        return gone

    def take(self) -> list[UserRequest]:
        """Take all."""
        taken, self._requests = self._requests, []
        return taken

    def put_back(self, requests: Iterable[UserRequest]) -> None:
        """Hold again what was taken."""
        self._requests += requests

    def drop(self, which: Callable[[UserRequest], bool]) -> list[UserRequest]:
        """Take out those that another controller has decided, or that were taken back."""
        dropped = [request for request in self._requests if which(request)]
        self._requests = [request for request in self._requests if not which(request)]
        return dropped

    def led(self) -> list[UserRequest]:
        """Another controller has renewed its lease; take out what it has had time enough for."""
        for request in self._requests:
            request.proofs += 1
        return self.drop(lambda request: request.proofs >= PROOFS)
