"""Whether another process logs in with this node's name. Pure.

A broker lets one connection in for each name, so two processes of one name throw each other out,
for ever, and older brokers tell neither why. But what a node says of itself is retained: whoever
comes back and finds the word of another life there has met the other one.

Two such words are innocent: what is retained when a process first logs in is its life before, and
a broker that was killed may come back with that once more, from what it had saved.
"""

from fedbus.wire.documents import NodeState

SURE = 2
"""Words of another life before it is sure. One may be our own life before this one, from what a
broker had saved long ago; unless it began after this one, or has met us, too."""
SETTLED_SECONDS = 1200.0
"""A connection that has lasted for so long: another process would have logged in meanwhile."""

SENTENCE = (
    "another process logs in with the name {name}, and the broker lets only one in at a time: give "
    "one of the two a name and login of its own"
)


class NameConflict:
    """What speaks for another process of this name.

    Attributes:
        count: How often it was met since it became sure; 0: it is not.
    """

    def __init__(self, name: str, incarnation: int) -> None:
        self.count = 0
        self._own = incarnation
        self._sentence = SENTENCE.format(name=name)
        self._seen = 0
        self._said = False  # whether our own word should be retained by now
        self._kept = False  # whether the broker has kept a word of ours
        self._before: int | None = None  # the life that was retained before that

    @property
    def trouble(self) -> str:
        """A sentence for people; nothing while there is no conflict."""
        return self._sentence if self.count else ""

    def said(self) -> None:
        """We have said who we are."""
        self._said = True

    def told(self) -> None:
        """The broker has said that another took this name over; once may be a person's client."""
        self._seen += 1
        self.count += self._seen >= SURE

    def heard(self, state: NodeState) -> bool:
        """Take what is said under our own name; tell whether it speaks for another process."""
        if state.incarnation == self._own:
            self._kept = True
            return False
        if not self._kept:
            self._before = state.incarnation  # whenever it began: a board's clock may be wrong
            return False
        if not self._said:
            return False
        self._said = False  # once for each connection
        later = state.incarnation > self._own and state.incarnation != self._before
        self._seen += SURE if later or self._sentence in state.trouble else 1
        if self._seen < SURE:
            return False
        self.count += 1
        return True

    def steady(self) -> None:
        """A connection has lasted: what was met before, if that is not sure, was chance."""
        if not self.count:
            self._seen = 0

    def settled(self) -> None:
        """A connection has lasted for so long that the conflict must be over."""
        self.count = self._seen = 0
