"""Outcomes of requests: the reply, the log event, the retained refusal, the settlement. Pure.

A refusal is also retained on a topic of its own, for clients without a reply topic; the document of
the job may be about another job of the same id.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Literal

from fedbus.core.actions import Action, Announce, Clear, Note, Settle
from fedbus.wire.documents import RefusedRequest
from fedbus.wire.messages import JobFault
from fedbus.wire.topics import JOB_REFUSED, JOB_REQUEST
from fedbus_controller.requests.replies import cancel_reply, refused_reply
from fedbus_controller.requests.request_queue import UserRequest

MAX_LOGGED_FAULTS = 8
RETAINED_REFUSALS = 100
"""Number of refusals that the broker retains, in its memory."""


class RequestOutcomes:
    """Ends requests, and keeps the number of retained refusals bounded."""

    def __init__(self) -> None:
        self._retained: OrderedDict[str, None] = OrderedDict()

    def refuse(self, request: UserRequest, faults: tuple[JobFault, ...]) -> Iterator[Action]:
        """Refuse a request with all its faults; a cancellation has one, without a key."""
        job, reply, reason = request.job, request.reply, faults[0].problem
        unanswered = {"unanswered": request.unanswerable} if reply is None else {}
        if request.is_cancel:
            yield Note("cancel_refused", {"job": job, "reason": reason} | unanswered)
            yield from cancel_reply(reply, job, reason)
        else:
            logged = [str(fault) for fault in faults[:MAX_LOGGED_FAULTS]]
            yield Note("job_refused", {"job": job, "faults": logged} | unanswered)
            yield from refused_reply(reply, job, faults)
        yield from self._retain_refusal(request, faults)
        yield from settle_decided(request)

    def refuse_cancel(self, request: UserRequest, reason: str) -> Iterator[Action]:
        """Refuse a cancellation."""
        yield from self.refuse(request, (JobFault(key="", problem=reason),))

    def _retain_refusal(self, request: UserRequest, faults: Iterable[JobFault]) -> Iterator[Action]:
        if not request.job:  # no id, no topic
            return
        kind: Literal["cancel", "submit"] = "cancel" if request.is_cancel else "submit"
        clipped = tuple(fault.clipped() for fault in faults)
        yield Announce(JOB_REFUSED, RefusedRequest(job=request.job, request=kind, faults=clipped))
        self._retained[request.job] = None
        self._retained.move_to_end(request.job)
        while len(self._retained) > RETAINED_REFUSALS:
            yield Clear(JOB_REFUSED, {"job": self._retained.popitem(last=False)[0]})


def settle_decided(request: UserRequest) -> Iterator[Action]:
    """Settle a decided request, and clear its retained file."""
    yield from settle(request.receipt)
    if request.topic_job:
        yield Clear(JOB_REQUEST, {"job": request.topic_job})


def settle_released(requests: Iterable[UserRequest]) -> Iterator[Action]:
    """Settle requests that the leading controller decides; their retained files stay."""
    for request in requests:
        yield from settle(request.receipt)


def settle(receipt: int | None) -> Iterator[Action]:
    """Have the broker delete the message of a receipt."""
    if receipt is not None:
        yield Settle(receipt)
