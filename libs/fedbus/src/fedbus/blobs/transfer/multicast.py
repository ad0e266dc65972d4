"""One blob on its way to many at once, so that a model leaves its source once. Pure.

The cursor advances only while every member has confirmed all but a window of chunks. A member that
holds the group back for 0.3 s is sent to a lane of its own. (Paced by its fastest member, a group
with five stalled agents put 490 MB into the broker and slowed the rest eight-fold.) Only who is
behind another member holds the group back: where all wait alike, it is the source's own link that
is slow.
"""

from collections.abc import Iterator

from fedbus.blobs.transfer.chunk import CONFIRM_SERIAL, GROUP_SERIAL
from fedbus.blobs.transfer.receiver import SILENT_SECONDS

HELD_SECONDS = 0.3
QUIET_SECONDS = 0.05
"""No new member for so long: those who are here start. The rest will want what they missed."""


class Group:
    """Those who follow one blob, and how far it has gone."""

    def __init__(self, count: int, window: int, now: float, forgiven: int = 0) -> None:
        self.cursor = 0
        self._forgiven = forgiven  # so many of those to come are not waited for
        self._count = count
        self._window = max(1, window)
        # Half a window is always on its way while the other half is confirmed.
        self._confirm_every = max(1, self._window // 2)
        self._upto: dict[str, int] = {}
        self._dropped: set[str] = set()  # sent to lanes, not heard of there: may listen yet
        self._proven = 0
        self._expected = 0
        self._came: set[str] = set()  # whoever joined or took a lane instead, gone again or not
        self._opened = now
        self._last_join = now
        self._started = False
        self._advanced = now
        self._held_since: float | None = None

    @property
    def members(self) -> list[str]:
        """Those who follow."""
        return list(self._upto)

    @property
    def absent(self) -> int | None:
        """How many did not come; None before the start, and if too few came to tell."""
        came = len(self._came)
        if not self._started or 2 * came < self._expected:
            return None
        return max(0, self._expected - came)

    @property
    def streamed(self) -> bool:
        """Everything has been sent; it may still be on its way to slow members."""
        return self.cursor >= self._count

    @property
    def over(self) -> bool:
        """Everything has reached everybody, or nobody is left."""
        done = min(self._upto.values(), default=self._count) >= self._count
        return self._started and done and not self._dropped

    def join(self, member: str, members: int, now: float) -> None:
        """Add a member who says that about `members` will come; late ones miss the beginning."""
        if member not in self._upto:
            self._upto[member] = self.cursor
            self._came.add(member)
            self._last_join = now
        self._expected = max(self._expected, members)

    def pass_over(self, member: str, members: int, now: float) -> None:
        """Count a node that takes a lane instead among those who came."""
        self.leave(member)
        self._came.add(member)
        if self.cursor:
            self._dropped.add(member)
        self._last_join = now
        self._expected = max(self._expected, members)

    def confirm(self, member: str, upto: int) -> None:
        """Note how far the stream has passed a member."""
        if member in self._upto:
            self._upto[member] = max(self._upto[member], min(upto, self.cursor))
            self._proven = max(self._proven, self._upto[member])
        elif upto >= self._count:
            self._dropped.discard(member)

    def leave(self, member: str) -> None:
        """Go on without a member: it does not listen any more."""
        self._upto.pop(member, None)
        self._dropped.discard(member)

    def advance(self, now: float) -> Iterator[tuple[int, int]]:
        """Yield the chunks to publish now, as (serial, index)."""
        if not self._started and now < self._start_at():
            return
        self._started = True
        while self._upto and not self.streamed and not self._behind():
            self.cursor += 1
            self._advanced, self._held_since = now, None
            at_turn = self.streamed or self.cursor % self._confirm_every == 0
            yield CONFIRM_SERIAL if at_turn else GROUP_SERIAL, self.cursor - 1
        held = self._upto and not self.streamed and self._proven >= self._needed()
        if held and self._held_since is None:
            self._held_since = now

    def laggards(self, now: float) -> list[str]:
        """Take out the members that have held the group back for too long."""
        if not self._started or now < self._look_at():
            return []
        slow = self._behind()
        for member in slow:
            del self._upto[member]
        self._dropped = set() if self._held_since is None else self._dropped.union(slow)
        self._held_since = None
        return slow

    def wake_at(self) -> float | None:
        """When to look again though nobody says anything."""
        if self.over:
            return None
        return self._look_at() if self._started else self._start_at()

    def _needed(self) -> int:
        # What a member must have confirmed: to let the cursor advance, or at the end to let it go.
        return self._count if self.streamed else self.cursor - self._window + 1

    def _behind(self) -> list[str]:
        needed = self._needed()
        return [member for member, upto in self._upto.items() if upto < needed]

    def _look_at(self) -> float:
        if self._held_since is None:
            return self._advanced + SILENT_SECONDS  # who has not confirmed by then is gone
        return self._held_since + HELD_SECONDS

    def _start_at(self) -> float:
        if len(self._came) + self._forgiven >= self._expected:
            return self._opened
        return min(self._opened + HELD_SECONDS, self._last_join + QUIET_SECONDS)
