"""Who is there: what each node said of itself, and how long ago it was heard. Pure.

Liveness is the age of a node's last heartbeat; a last will only hastens it. A node is suspect after
three missed heartbeats and lost after six, whether it died, hangs, or its link is cut: one cannot
tell.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from fedbus.jobs.eligibility import TrainingRequirements, ineligibility_reason
from fedbus.wire.documents import PROTOCOL, AgentFacts, Heartbeat, NodeState
from fedbus.wire.identifiers import role_of

SUSPECT_BEATS = 3
LOST_BEATS = 6
LIVES_REMEMBERED = 8
FORGOTTEN_SECONDS = 86_400.0
"""A node that was not heard for so long is forgotten when another one introduces itself."""
REASONS = 3
"""Number of distinct reasons that a sentence gives, the most frequent first."""


class Liveness(StrEnum):
    """How sure we are that a node is there."""

    ONLINE = "online"
    SUSPECT = "suspect"
    LOST = "lost"


@dataclass(slots=True)
class KnownNode:
    """One node, as last heard; `past` are the incarnations of its earlier lives."""

    state: NodeState
    heard: float
    load: float = 0.0
    past: deque[int] = field(default_factory=lambda: deque(maxlen=LIVES_REMEMBERED))


@dataclass(frozen=True, slots=True)
class EligibleAgents:
    """The online agents that are eligible for a training; the number of others, and why not."""

    eligible: tuple[tuple[str, AgentFacts], ...]
    ineligible: int
    reasons: str
    """Continues a sentence: `; 2 cannot: training needs …`, or empty."""


class Fleet:
    """All nodes that spoke to this controller in the last day."""

    def __init__(self, heartbeat_seconds: float) -> None:
        self._beat = heartbeat_seconds
        self._nodes: dict[str, KnownNode] = {}

    def introduce(self, state: NodeState, now: float) -> bool:
        """Note what a node says of itself; True if it lives anew, and has forgotten its orders."""
        known = self._nodes.get(state.node)
        if known is None:
            self._forget(now)
            self._nodes[state.node] = KnownNode(state, now)
            return False
        life = known.state.incarnation
        if state.incarnation in known.past:
            return False  # said long ago, and overtaken by its next life
        if not state.online:
            if state.incarnation == life:
                known.state = replace(known.state, online=False)
            return False
        known.state, known.heard = state, now
        if state.incarnation != life:
            known.past.append(life)
        return state.incarnation != life

    def beat(self, node: str, heartbeat: Heartbeat, now: float) -> None:
        """Note that a node lives, whatever a last will of the same life said."""
        member = self._nodes.get(node)
        if member is not None and member.state.incarnation == heartbeat.incarnation:
            member.heard = now
            member.load = heartbeat.load
            if not member.state.online:
                member.state = replace(member.state, online=True)

    def reconnected(self, now: float) -> None:
        """Hold nobody's silence against it while it was we who could not hear."""
        for member in self._nodes.values():
            member.heard = now

    def liveness(self, node: str, now: float) -> Liveness:
        """Say how sure we are of a node."""
        member = self._nodes.get(node)
        if member is None:
            return Liveness.LOST
        missed = (now - member.heard) / self._beat
        if missed > LOST_BEATS:
            return Liveness.LOST
        sure = missed <= SUSPECT_BEATS and member.state.online
        return Liveness.ONLINE if sure else Liveness.SUSPECT

    def incarnation(self, node: str) -> int:
        """Tell a node's lives apart; 0: never heard of."""
        member = self._nodes.get(node)
        return member.state.incarnation if member else 0

    def load(self, node: str) -> float:
        """Say how busy a node is: load average per core."""
        return self._nodes[node].load

    def agents(self, role: str, now: float) -> Iterator[tuple[str, AgentFacts]]:
        """List the agents that are online and have a role, by name."""
        for node in self._online(now):
            facts = self._nodes[node].state.agent
            if facts is not None and role in facts.roles:
                yield node, facts

    def absent(self, now: float) -> list[str]:
        """List the agents that were here and are not, and did not say that they never train."""
        here = set(self._online(now))
        return [
            node
            for node, member in sorted(self._nodes.items())
            if node not in here and role_of(node) == "agent"
            if member.state.agent is None or "train" in member.state.agent.roles
        ]

    def eligible(self, training: TrainingRequirements, now: float) -> EligibleAgents:
        """Separate the online agents that are eligible for a training from the others."""
        eligible, reasons = [], Counter[str]()
        for name, facts in self.agents("train", now):
            if reason := ineligibility_reason(training, facts):
                reasons[reason] += 1
            else:
                eligible.append((name, facts))
        said = "".join(f"; {count} cannot: {why}" for why, count in reasons.most_common(REASONS))
        return EligibleAgents(tuple(eligible), reasons.total(), said)

    def collectors(self, now: float) -> list[str]:
        """List the collectors that are online, by name."""
        return [node for node in self._online(now) if role_of(node) == "collector"]

    def _forget(self, now: float) -> None:
        """Forget nodes that are gone: where containers name agents, each start is another name."""
        since = now - FORGOTTEN_SECONDS
        for node in [node for node, member in self._nodes.items() if member.heard < since]:
            del self._nodes[node]

    def _online(self, now: float) -> Iterator[str]:
        for node, member in sorted(self._nodes.items()):
            understood = member.state.protocol == PROTOCOL
            if understood and self.liveness(node, now) is Liveness.ONLINE:
                yield node
