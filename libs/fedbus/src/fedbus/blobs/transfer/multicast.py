"""State of one multicast: a blob sent to many members at once. Pure.

The cursor advances only while every member has confirmed all but a window of chunks. A member that
holds the others back for 0.3 s is moved to unicast. (Without this limit, five stalled agents put
490 MB into the broker and slowed the others eight-fold.) Only a member that is behind another one
holds the multicast back: if all wait alike, the source's own link is slow.
"""

from collections.abc import Iterator

from fedbus.blobs.transfer.chunk import CONFIRM_SERIAL, MULTICAST_SERIAL
from fedbus.blobs.transfer.receiver import SILENT_SECONDS

HELD_SECONDS = 0.3
QUIET_SECONDS = 0.05
"""Without a new member for this long, the multicast starts; later members request the rest."""


class Multicast:
    """Members of one blob's multicast, and how far the stream has gone.

    Args:
        window: Chunks that may be unconfirmed.
        absent: Announced members that are not waited for.
    """

    def __init__(self, count: int, window: int, now: float, absent: int = 0) -> None:
        self.cursor = 0
        self._not_awaited = absent
        self._count = count
        self._window = max(1, window)
        # Half a window is always in transit while the other half is confirmed.
        self._confirm_every = max(1, self._window // 2)
        self._upto: dict[str, int] = {}
        self._dropped: set[str] = set()  # moved to unicast; may still follow the stream
        self._proven = 0
        self._expected = 0
        self._came: set[str] = set()  # joined or use unicast, even if they have left
        self._opened = now
        self._last_join = now
        self._started = False
        self._advanced = now
        self._held_since: float | None = None

    @property
    def members(self) -> list[str]:
        """Nodes that follow the stream."""
        return list(self._upto)

    @property
    def absent(self) -> int | None:
        """Number of announced members that did not come; None: not known yet, or too few came."""
        came = len(self._came)
        if not self._started or 2 * came < self._expected:
            return None
        return max(0, self._expected - came)

    @property
    def streamed(self) -> bool:
        """Whether all chunks have been sent; they may still be in transit to slow members."""
        return self.cursor >= self._count

    @property
    def over(self) -> bool:
        """Whether every member has confirmed all chunks, or no member is left."""
        done = min(self._upto.values(), default=self._count) >= self._count
        return self._started and done and not self._dropped

    def join(self, member: str, members: int, now: float) -> None:
        """Add a member that announces about `members` in all; a late one misses the beginning."""
        if member not in self._upto:
            self._upto[member] = self.cursor
            self._came.add(member)
            self._last_join = now
        self._expected = max(self._expected, members)

    def count_unicast(self, member: str, members: int, now: float) -> None:
        """Count a node that uses unicast instead among those that came."""
        self.leave(member)
        self._came.add(member)
        if self.cursor:
            self._dropped.add(member)
        self._last_join = now
        self._expected = max(self._expected, members)

    def confirm(self, member: str, upto: int) -> None:
        """Record the number of chunks that the stream has passed a member."""
        if member in self._upto:
            self._upto[member] = max(self._upto[member], min(upto, self.cursor))
            self._proven = max(self._proven, self._upto[member])
        elif upto >= self._count:
            self._dropped.discard(member)

    def leave(self, member: str) -> None:
        """Remove a member that no longer follows the stream."""
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
            yield CONFIRM_SERIAL if at_turn else MULTICAST_SERIAL, self.cursor - 1
        held = self._upto and not self.streamed and self._proven >= self._needed()
        if held and self._held_since is None:
            self._held_since = now

    def remove_slow(self, now: float) -> list[str]:
        """Remove and return the members that have held the others back for too long."""
        if not self._started or now < self._check_at():
            return []
        slow = self._behind()
        for member in slow:
            del self._upto[member]
        self._dropped = set() if self._held_since is None else self._dropped.union(slow)
        self._held_since = None
        return slow

    def wake_at(self) -> float | None:
        """Return when to call `remove_slow` and `advance` if no message arrives; None: never."""
        if self.over:
            return None
        return self._check_at() if self._started else self._start_at()

    def _needed(self) -> int:
        # Chunks a member must confirm before the cursor advances, or, at the end, before it is
        # done.
        return self._count if self.streamed else self.cursor - self._window + 1

    def _behind(self) -> list[str]:
        needed = self._needed()
        return [member for member, upto in self._upto.items() if upto < needed]

    def _check_at(self) -> float:
        if self._held_since is None:
            return (
                self._advanced + SILENT_SECONDS
            )  # a member without a confirmation by then is gone
        return self._held_since + HELD_SECONDS

    def _start_at(self) -> float:
        if len(self._came) + self._not_awaited >= self._expected:
            return self._opened
        return min(self._opened + HELD_SECONDS, self._last_join + QUIET_SECONDS)
