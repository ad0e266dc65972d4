"""One blob on its way to many at once, so that a model leaves its source once. Pure.

The cursor advances only while every member has confirmed all but a window of chunks. A member that holds
the group back for 0.3 s is sent to a lane of its own. (Paced by its fastest member, a group with five
stalled agents put 490 MB into the broker and slowed the rest eight-fold.)
"""

from collections.abc import Iterator

from fedbus.transfer.receiver import WINDOW

HELD_SECONDS = 0.3
QUIET_SECONDS = 0.05
"""No new member for so long: those who are here start. The rest will want what they missed."""

CONFIRM_EVERY = WINDOW // 2
"""Members confirm every so many chunks, so that half a window is always on its way."""


class Group:
    """Those who follow one blob, and how far it has gone."""

    def __init__(self, count: int, window: int, now: float) -> None:
        self.cursor = 0
        self._count = count
        self._window = max(1, window)
        self._upto: dict[str, int] = {}
        self._expected = 0
        self._opened = now
        self._last_join = now
        self._started = False
        self._held_since: float | None = None

    def __len__(self) -> int:
        return len(self._upto)

    @property
    def over(self) -> bool:
        """Everything has been sent, or nobody is left."""
        return self.cursor >= self._count or not self._upto

    def join(self, member: str, members: int, now: float) -> None:
        """Add a member who says that about `members` will come; late ones miss the beginning."""
        if member not in self._upto:
            self._upto[member] = self.cursor
            self._last_join = now
        self._expected = max(self._expected, members)

    def pass_over(self, now: float) -> None:
        """Count one expected member that takes a lane instead."""
        self._expected -= 1
        self._last_join = now

    def confirm(self, member: str, upto: int) -> None:
        """Note how far the stream has passed a member."""
        if member in self._upto:
            self._upto[member] = max(self._upto[member], min(upto, self.cursor))

    def leave(self, member: str) -> None:
        """Go on without a member."""
        self._upto.pop(member, None)

    def advance(self, now: float) -> Iterator[int]:
        """Yield the chunks to publish now."""
        if not self._started and now < self._start_at():
            return
        self._started = True
        while not self.over and self.cursor - min(self._upto.values()) < self._window:
            self._held_since = None
            self.cursor += 1
            yield self.cursor - 1
        if not self.over and self._held_since is None:
            self._held_since = now

    def laggards(self, now: float) -> list[str]:
        """Take out the members that have held the group back for too long."""
        if self._held_since is None or now < self._held_since + HELD_SECONDS:
            return []
        slow = [m for m, upto in self._upto.items() if self.cursor - upto >= self._window]
        for member in slow:
            del self._upto[member]
        self._held_since = None
        return slow

    def wake_at(self) -> float | None:
        """When to look again though nobody says anything."""
        if self.over:
            return None
        if not self._started:
            return self._start_at()
        return None if self._held_since is None else self._held_since + HELD_SECONDS

    def _start_at(self) -> float:
        if len(self._upto) >= self._expected:
            return self._opened
        return min(self._opened + HELD_SECONDS, self._last_join + QUIET_SECONDS)
