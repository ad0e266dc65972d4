"""Which id a job gets whose file leaves it out. Pure.

A request that comes twice must not become two jobs. One with correlation data is told apart by
these, whatever happened to the controller meanwhile. Of one without them nobody knows whether it is
meant twice: it is taken for a repetition within `REPEATED_SECONDS`.
"""

import hashlib
from collections import OrderedDict

from fedbus.actions import ReplyTo
from fedbus.wire.jobfile import made_id
from fedbus.wire.values import Moment

REPEATED_SECONDS = 30.0
REMEMBERED = 256


class MadeIds:
    """Which id was made for which request."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[str, bytes], tuple[float, str]] = OrderedDict()
        self._count = 0

    def make(
        self, model: str, payload: bytes, reply: ReplyTo | None, now: float, utc: Moment
    ) -> str:
        """Name the job of a file."""
        topic = "" if reply is None else reply.topic
        digest = hashlib.sha256(payload).digest()
        if reply is not None and reply.correlation:
            return made_id(model, None, b"\0".join((topic.encode(), reply.correlation, digest)))
        at, job = self._made.get((topic, digest), (0.0, ""))
        if job and now < at + REPEATED_SECONDS:
            return job
        self._count += 1
        job = made_id(model, utc, f"{utc}/{self._count}/{topic}/{digest.hex()}".encode())
        self._made[topic, digest] = now, job
        while len(self._made) > REMEMBERED:
            self._made.popitem(last=False)
        return job
