"""Ids for job files that leave theirs out. Pure.

Such a file that comes twice may be meant twice, or be repeated by a client or a broker that is not
sure that it arrived. It is taken for a repetition if it comes from the same place within
`REPEATED_SECONDS`, and has the id of the first then.
"""

import hashlib
from collections import OrderedDict

from fedbus.actions import ReplyTo
from fedbus.wire.values import Moment

REPEATED_SECONDS = 30.0
REMEMBERED = 256
_LONGEST_MODEL = 40


class MadeIds:
    """Which id was made for which request."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[ReplyTo | None, bytes], tuple[float, str]] = OrderedDict()
        self._count = 0

    def make(
        self, model: str, payload: bytes, reply: ReplyTo | None, now: float, utc: Moment
    ) -> str:
        """Name the job of a file: `digits-20261129-085328-4f1c`."""
        key = (reply, hashlib.sha256(payload).digest())
        at, job = self._made.get(key, (0.0, ""))
        if job and now < at + REPEATED_SECONDS:
            return job
        self._count += 1
        chance = hashlib.sha256(f"{utc}/{self._count}/{key}".encode()).hexdigest()[:4]
        day, _, clock = utc.partition("T")
        when = f"{day.replace('-', '')}-{clock[:8].replace(':', '')}"
        job = f"{model[:_LONGEST_MODEL]}-{when}-{chance}"
        self._made[key] = now, job
        while len(self._made) > REMEMBERED:
            self._made.popitem(last=False)
        return job
