"""Fleet: the state of each node, and how long ago it was heard. Pure.

Liveness is the age of a node's last heartbeat. A node is suspect after three missed heartbeats, or
at once after its last will, and lost after six. Whether it died, hangs or lost its link, a
controller cannot distinguish.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from fedbus.jobs.eligibility import TrainingRequirements, ineligibility_reason
from fedbus.wire.documents import PROTOCOL, AgentFacts, Heartbeat, NodeState
from fedbus.wire.identifiers import role_of

SUSPECT_BEATS = 3
LOST_BEATS = 6
PAST_INCARNATIONS = 8
FORGOTTEN_SECONDS = 86_400.0
"""Silence after which a node is removed, when a new node appears."""
SHOWN_REASONS = 3
"""Number of distinct reasons in a message, the most frequent first."""


class Liveness(StrEnum):
    """Liveness of a node, from the age of its last heartbeat."""

    ONLINE = "online"
    SUSPECT = "suspect"
    LOST = "lost"


@dataclass(slots=True)
class KnownNode:
    """One node: its last state, when it was heard, and the incarnations before the current one."""

    state: NodeState
    heard: float
    load: float = 0.0
    past: deque[int] = field(default_factory=lambda: deque(maxlen=PAST_INCARNATIONS))


@dataclass(frozen=True, slots=True)
class EligibleAgents:
    """The online agents that are eligible for a training; the number of others, and why not."""

    eligible: tuple[tuple[str, AgentFacts], ...]
    ineligible: int
    reasons: str
    """Continuation of a message: `; 2 cannot: training needs …`, or empty."""

    def without(self, agents: Collection[str]) -> "EligibleAgents":
        """Return the others, as if these were not online."""
        return replace(self, eligible=tuple(e for e in self.eligible if e[0] not in agents))

    def excluding(self, why: Mapping[str, str]) -> "EligibleAgents":
        """Return the others; these agents are ineligible, each for its reason."""
        excluded = Counter(why[agent] for agent, _ in self.eligible if agent in why)
        more = _reasons_text(excluded)
        others = self.without(why)
        return replace(
            others, ineligible=self.ineligible + excluded.total(), reasons=self.reasons + more
        )


class Fleet:
    """All nodes that were heard in the last day."""

    def __init__(self, heartbeat_seconds: float) -> None:
        self._heartbeat_seconds = heartbeat_seconds
        self._nodes: dict[str, KnownNode] = {}

    def update(self, state: NodeState, now: float) -> bool:
        """Keep a node's state; return whether the node has restarted."""
        known = self._nodes.get(state.node)
        if known is None:
            self._forget(now)
            self._nodes[state.node] = KnownNode(state, now)
            return False
        incarnation = known.state.incarnation
        if state.incarnation in known.past:
            return False  # an old message of an earlier incarnation
        if not state.online:
            if state.incarnation == incarnation:
                known.state = replace(known.state, online=False)
            return False
        known.state, known.heard = state, now
        if state.incarnation != incarnation:
            known.past.append(incarnation)
        return state.incarnation != incarnation

    def heard(self, node: str, heartbeat: Heartbeat, now: float) -> None:
        """Note a heartbeat; it overrules a last will of the same incarnation."""
        entry = self._nodes.get(node)
        if entry is not None and entry.state.incarnation == heartbeat.incarnation:
            entry.heard = now
            entry.load = heartbeat.load
            if not entry.state.online:
                entry.state = replace(entry.state, online=True)

    def reconnected(self, now: float) -> None:
        """Restart all liveness timers: heartbeats were missed while this node was disconnected."""
        for entry in self._nodes.values():
            entry.heard = now

    def liveness(self, node: str, now: float) -> Liveness:
        """Return the liveness of a node; an unknown node is lost."""
        entry = self._nodes.get(node)
        if entry is None:
            return Liveness.LOST
        missed = (now - entry.heard) / self._heartbeat_seconds
        if missed > LOST_BEATS:
            return Liveness.LOST
        online = missed <= SUSPECT_BEATS and entry.state.online
        return Liveness.ONLINE if online else Liveness.SUSPECT

    def incarnation(self, node: str) -> int:
        """Return a node's incarnation; 0 if it is unknown."""
        entry = self._nodes.get(node)
        return entry.state.incarnation if entry else 0

    def load(self, node: str) -> float:
        """Return a node's load average per core."""
        return self._nodes[node].load

    def agents(self, role: str, now: float) -> Iterator[tuple[str, AgentFacts]]:
        """Yield the online agents with a role, sorted by name."""
        for node in self._online(now):
            facts = self._nodes[node].state.agent
            if facts is not None and role in facts.roles:
                yield node, facts

    def absent(self, now: float) -> list[str]:
        """Return the agents that were online, are not, and may train."""
        online = set(self._online(now))
        return [node for node in self.trainers() if node not in online]

    def eligible(self, training: TrainingRequirements, now: float) -> EligibleAgents:
        """Separate the online agents that are eligible for a training from the others."""
        eligible, reasons = [], Counter[str]()
        for name, facts in self.agents("train", now):
            if reason := ineligibility_reason(training, facts):
                reasons[reason] += 1
            else:
                eligible.append((name, facts))
        return EligibleAgents(tuple(eligible), reasons.total(), _reasons_text(reasons))

    def encryption_key(self, node: str) -> str | None:
        """Return the id of the encryption key that a node announces; None if it has none."""
        entry = self._nodes.get(node)
        return None if entry is None else entry.state.encryption_key

    def collectors(self, now: float) -> list[str]:
        """Return the online collectors, sorted by name."""
        return [*self.noise_keys(now)]

    def noise_keys(self, now: float) -> dict[str, str | None]:
        """Return the digest of each online collector's noise key, sorted by the names."""
        collectors = (node for node in self._online(now) if role_of(node) == "collector")
        return {node: self._nodes[node].state.noise_key for node in collectors}

    def without_noise_key(self, now: float) -> list[str]:
        """Return the online collectors that state why they cannot use the file of their key."""
        states = (self._nodes[node].state for node in self.collectors(now))
        return [each.node for each in states if each.noise_key is None and each.trouble]

    def counts(self, now: float) -> dict[str, int]:
        """Return the numbers of online nodes, of agents by role."""
        return {
            "collectors": len(self.collectors(now)),
            "training agents": len(dict(self.agents("train", now))),
            "evaluating agents": len(dict(self.agents("evaluate", now))),
        }

    def trainers(self) -> list[str]:
        """Return the known agents that may train, online or not, sorted by name."""
        return [
            node
            for node, entry in sorted(self._nodes.items())
            if role_of(node) == "agent" and _may_train(entry.state)
        ]

    def facts_of_trainers(self) -> list[AgentFacts]:
        """Return what the known agents that may train have announced, online or not."""
        announced = (self._nodes[node].state.agent for node in self.trainers())
        return [facts for facts in announced if facts is not None]

    def _forget(self, now: float) -> None:
        """Remove silent nodes: an agent in a container may have a new name at each start."""
        since = now - FORGOTTEN_SECONDS
        for node in [node for node, entry in self._nodes.items() if entry.heard < since]:
            del self._nodes[node]

    def _online(self, now: float) -> Iterator[str]:
        for node, entry in sorted(self._nodes.items()):
            compatible = entry.state.protocol == PROTOCOL
            if compatible and self.liveness(node, now) is Liveness.ONLINE:
                yield node


def _reasons_text(reasons: Counter[str]) -> str:
    """Return the continuation of a message that says why agents are not eligible."""
    return "".join(f"; {count} cannot: {why}" for why, count in reasons.most_common(SHOWN_REASONS))


def _may_train(agent: NodeState) -> bool:
    return agent.agent is None or "train" in agent.agent.roles
