"""Replies of the last seconds, for requests that their clients repeat. Pure.

A client sends a request again, with the same correlation data, if it has no answer: a request that
a broker gave to a hung replica is lost. Where the first one is still being answered, the repeated
one is ignored; where it was answered, its reply is sent again. A request is the same only with the
same payload and model, and a reply is only sent again until its model's versions change.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from fedbus.core.actions import Reply
from fedbus.core.events import ReplyTo

KEPT_SECONDS: Final = 10.0
MAX_KEPT: Final = 1024
MAX_KEPT_BYTES: Final = 4 * 2**20
"""Payloads of the replies that are kept."""
MAX_REPLY_BYTES: Final = 64 * 1024
"""A larger reply is computed again."""


@dataclass(slots=True)
class _Entry:
    to: ReplyTo
    model: str
    digest: bytes
    at: float
    reply: Reply | None = None

    @property
    def size(self) -> int:
        return 0 if self.reply is None else len(self.reply.payload)


class RecentReplies:
    """Requests of topics that are being answered, or were a moment ago."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, bytes], _Entry] = {}
        self._bytes = 0

    def begin(self, to: ReplyTo, target: str, payload: bytes, now: float) -> Reply | bool:
        """Return the reply to a repeated request, or whether it is being answered already.

        `target` is the model, with the choice of a version. False: it is new.
        """
        if to.correlation is None:
            return False
        self._prune(now)
        place = to.topic, to.correlation
        hashed = blake2b(target.encode() + b"/", digest_size=16)
        hashed.update(payload)
        digest = hashed.digest()
        entry = self._entries.get(place)
        if entry is None:
            if len(self._entries) < MAX_KEPT:
                model = target.partition("@")[0]
                self._entries[place] = _Entry(to, model, digest, now)
            return False
        if entry.digest != digest:
            self._drop(place)  # a client that uses its correlation data for several requests
            return False
        return True if entry.reply is None else entry.reply

    def answered(self, reply: Reply) -> None:
        """Keep the reply to a request."""
        entry = self._find(reply.to)
        if entry is None:
            return
        entry.reply = reply
        self._bytes += entry.size
        if entry.size > MAX_REPLY_BYTES or self._bytes > MAX_KEPT_BYTES:
            self._drop(self._place(reply.to))

    def refused(self, to: ReplyTo) -> None:
        """Forget a request that has no answer: repeated, it may have one."""
        if self._find(to) is not None:
            self._drop(self._place(to))

    def versions_changed(self, model: str) -> None:
        """Forget the replies of a model."""
        for place, entry in list(self._entries.items()):
            if entry.model == model and entry.reply is not None:
                self._drop(place)

    def _find(self, to: ReplyTo) -> _Entry | None:
        entry = None if to.correlation is None else self._entries.get(self._place(to))
        return entry if entry is not None and entry.to is to else None

    def _place(self, to: ReplyTo) -> tuple[str, bytes]:
        return to.topic, to.correlation or b""

    def _prune(self, now: float) -> None:
        while self._entries:
            place, entry = next(iter(self._entries.items()))
            if now < entry.at + KEPT_SECONDS:
                return
            self._drop(place)

    def _drop(self, place: tuple[str, bytes]) -> None:
        self._bytes -= self._entries.pop(place).size
