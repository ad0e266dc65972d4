"""Word that is left, retained, for people who cannot name a reply topic. Pure."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Literal

from fedbus.core.actions import Action, Announce, Clear
from fedbus.wire.documents import RefusedRequest
from fedbus.wire.messages import JobFault
from fedbus.wire.topics import JOB_REFUSED
from fedbus_controller.requests.request_queue import UserRequest

RETAINED_REFUSALS = 100
"""The last ones: whoever sends wrong files in a loop must not fill the broker's memory."""


class RefusalDocuments:
    """What was refused, by job; never said on the state of a job, which may be another's."""

    def __init__(self) -> None:
        self._retained: OrderedDict[str, None] = OrderedDict()

    def say(self, request: UserRequest, faults: Iterable[JobFault]) -> Iterator[Action]:
        """Leave word of a refusal; a request that names no job has no place for it."""
        if not request.job:
            return
        kind: Literal["cancel", "submit"] = "cancel" if request.is_cancel else "submit"
        clipped = tuple(fault.clipped() for fault in faults)
        yield Announce(JOB_REFUSED, RefusedRequest(job=request.job, request=kind, faults=clipped))
        self._retained[request.job] = None
        self._retained.move_to_end(request.job)
        while len(self._retained) > RETAINED_REFUSALS:
            yield Clear(JOB_REFUSED, {"job": self._retained.popitem(last=False)[0]})
