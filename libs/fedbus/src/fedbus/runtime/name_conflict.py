"""Detection of another process that logs in with this node's name. Pure.

A broker accepts one connection for each name, so two processes of one name disconnect each other
without end, and older brokers do not give the reason. But the state of a node is retained: a
process that reconnects and finds the state of another incarnation there has met the other process.

Two such states prove nothing: the state that is retained when a process first logs in is from its
own earlier start, and a broker that was killed may restore that state once more from its saved
data.
"""

from fedbus.wire.documents import NodeState

CERTAIN = 2
"""States of another incarnation needed for certainty. One may be from this node's earlier start,
restored by the broker; unless it began later than this process, or reports the conflict itself."""
SETTLED_SECONDS = 1200.0
"""After a connection of this duration another process would have logged in."""

SENTENCE = (
    "another process logs in with the name {name}, and the broker lets only one in at a time: give "
    "one of the two a name and login of its own"
)


class NameConflict:
    """Evidence of another process with this node's name.

    Attributes:
        count: Number of times the other process was detected since it became certain; 0: it is not.
    """

    def __init__(self, name: str, incarnation: int) -> None:
        self.count = 0
        self._own = incarnation
        self._sentence = SENTENCE.format(name=name)
        self._seen = 0
        self._published = False  # whether this process's state should be retained by now
        self._retained = False  # whether the broker has retained a state of this process
        self._earlier: int | None = None  # the incarnation whose state was retained before that

    @property
    def trouble(self) -> str:
        """A sentence for the operator; empty while there is no conflict."""
        return self._sentence if self.count else ""

    def state_published(self) -> None:
        """Record that this node has published its state."""
        self._published = True

    def taken_over(self) -> None:
        """Record that the broker reports a login with this name; one may be a person's client."""
        self._seen += 1
        self.count += self._seen >= CERTAIN

    def state_received(self, state: NodeState) -> bool:
        """Examine a state with this node's name; return whether it proves another process."""
        if state.incarnation == self._own:
            self._retained = True
            return False
        if not self._retained:
            self._earlier = (
                state.incarnation
            )  # even if it looks later: a board's clock may be wrong
            return False
        if not self._published:
            return False
        self._published = False  # once for each connection
        later = state.incarnation > self._own and state.incarnation != self._earlier
        self._seen += CERTAIN if later or self._sentence in state.trouble else 1
        if self._seen < CERTAIN:
            return False
        self.count += 1
        return True

    def connection_lasted(self) -> None:
        """Forget what was seen, if it is not certain: a connection has lasted."""
        if not self.count:
            self._seen = 0

    def resolved(self) -> None:
        """Withdraw the conflict: a connection has lasted for `SETTLED_SECONDS`."""
        self.count = self._seen = 0
