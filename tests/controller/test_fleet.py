"""Liveness of nodes, from heartbeats and last wills in any order."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from fedbus.wire.documents import Heartbeat, NodeState
from fedbus_controller.fleet import FORGOTTEN_SECONDS, LOST_BEATS, SUSPECT_BEATS, Fleet, Liveness
from tests.controller.harness import COLLECTOR, EVALUATOR, A, B, facts

BEAT = 2.0


def state(node: str, incarnation: int = 1, *, online: bool = True, protocol: int = 1) -> NodeState:
    """Build a node's state."""
    own = facts("train") if online and node.startswith("agent") else None
    return NodeState(
        node=node, incarnation=incarnation, online=online, agent=own, protocol=protocol
    )


def beat(incarnation: int = 1, load: float = 0.25) -> Heartbeat:
    """Build a heartbeat."""
    return Heartbeat(incarnation=incarnation, load=load, memory_mb=1.0, progress=0.0)


def fleet_of(*nodes: str) -> Fleet:
    """Build a fleet of nodes that were heard at time 0."""
    fleet = Fleet(BEAT)
    for node in nodes:
        fleet.update(state(node), 0.0)
    return fleet


def test_a_silent_node_is_suspected_then_lost() -> None:
    """After three, then six missed heartbeats."""
    fleet = fleet_of(A)
    assert fleet.liveness(A, SUSPECT_BEATS * BEAT) is Liveness.ONLINE
    assert fleet.liveness(A, SUSPECT_BEATS * BEAT + 0.1) is Liveness.SUSPECT
    assert fleet.liveness(A, LOST_BEATS * BEAT + 0.1) is Liveness.LOST


def test_an_unknown_node_is_lost() -> None:
    """It has no incarnation, and its heartbeat is ignored."""
    fleet = fleet_of()
    fleet.heard(A, beat(), 0.0)
    assert fleet.liveness(A, 0.0) is Liveness.LOST
    assert fleet.incarnation(A) == 0


def test_a_heartbeat_shows_liveness_and_load() -> None:
    """Only of the known incarnation: one of an earlier incarnation may arrive late."""
    fleet = fleet_of(A)
    fleet.heard(A, beat(load=0.75), 10.0)
    fleet.heard(A, beat(incarnation=2, load=1.0), 20.0)
    assert fleet.load(A) == 0.75
    assert fleet.liveness(A, 10.0 + SUSPECT_BEATS * BEAT) is Liveness.ONLINE
    assert fleet.liveness(A, 20.0) is Liveness.SUSPECT


def test_a_last_will_makes_a_node_suspect_at_once() -> None:
    """But not lost: it may be connecting again."""
    fleet = fleet_of(A)
    assert not fleet.update(state(A, online=False), 1.0)
    assert fleet.liveness(A, 1.0) is Liveness.SUSPECT
    assert list(fleet.agents("train", 1.0)) == []


def test_a_heartbeat_overrules_a_last_will_of_the_same_incarnation() -> None:
    """The will of a lost connection may arrive after a message of the next connection."""
    fleet = fleet_of(A)
    fleet.update(state(A, online=False), 1.0)
    fleet.heard(A, beat(), 2.0)
    assert [name for name, _ in fleet.agents("train", 2.0)] == [A]


def test_a_last_will_of_an_earlier_incarnation_is_ignored() -> None:
    """The node has restarted."""
    fleet = fleet_of(A)
    assert fleet.update(state(A, 2), 1.0)
    fleet.update(state(A, 1, online=False), 2.0)
    fleet.update(state(A, 9, online=False), 2.0)
    assert fleet.liveness(A, 2.0) is Liveness.ONLINE
    assert fleet.incarnation(A) == 2


def test_an_earlier_incarnation_does_not_come_back() -> None:
    """Its state may arrive after that of the next incarnation."""
    fleet = fleet_of(A)
    fleet.update(state(A, 2), 1.0)
    assert not fleet.update(state(A, 1), 2.0)
    assert fleet.incarnation(A) == 2


def test_only_a_new_incarnation_is_a_restart() -> None:
    """Neither the first state of a node is, nor a repeated one."""
    fleet = Fleet(BEAT)
    assert not fleet.update(state(A), 0.0)
    assert not fleet.update(state(A), 1.0)
    assert fleet.update(state(A, 2), 2.0)


def test_a_reconnect_restarts_the_liveness_timers() -> None:
    """The controller could not receive heartbeats."""
    fleet = fleet_of(A, B)
    fleet.reconnected(1000.0)
    assert fleet.liveness(A, 1000.0) is Liveness.ONLINE


def test_agents_and_collectors_are_listed_by_name() -> None:
    """Agents by role; a node with another protocol version is not listed."""
    fleet = fleet_of(B, COLLECTOR, A, "repository.1")
    fleet.update(
        NodeState(node=EVALUATOR, incarnation=1, online=True, agent=facts("evaluate")), 0.0
    )
    fleet.update(state("agent.future", protocol=2), 0.0)
    fleet.update(state("collector.future", protocol=2), 0.0)
    assert [name for name, _ in fleet.agents("train", 0.0)] == [A, B]
    assert [name for name, _ in fleet.agents("evaluate", 0.0)] == [EVALUATOR]
    assert fleet.collectors(0.0) == [COLLECTOR]
    assert fleet.collectors(100.0) == []


@dataclass(frozen=True)
class Sent:
    """A message of a node, some time after the one before."""

    after: float
    incarnation: int
    what: str


spoken = st.builds(
    Sent, st.floats(0, 20), st.integers(1, 3), st.sampled_from(["introduce", "will", "beat"])
)


@given(st.lists(spoken, max_size=40), st.floats(0, 100))
def test_liveness_is_the_age_of_the_last_sign_of_the_known_incarnation(
    words: list[Sent], silence: float
) -> None:
    """In any order of messages, no earlier incarnation returns, and a silent node gets lost."""
    fleet, now, heard = Fleet(BEAT), 0.0, None
    seen: list[int] = []
    for word in words:
        now += word.after
        known, fresh = fleet.incarnation(A), word.incarnation not in seen
        if word.what == "beat":
            fleet.heard(A, beat(word.incarnation), now)
            heard = now if known == word.incarnation else heard
        else:
            online = word.what == "introduce"
            restarted = fleet.update(state(A, word.incarnation, online=online), now)
            assert restarted == (online and known != 0 and fresh)
            if not known or (online and (fresh or word.incarnation == known)):
                heard = now
        if fleet.incarnation(A) != known:
            assert fresh
            seen.append(fleet.incarnation(A))
    now += silence
    age = (now - heard) / BEAT if heard is not None else LOST_BEATS + 1
    status = fleet.liveness(A, now)
    assert (status is Liveness.LOST) == (age > LOST_BEATS)
    assert status is not Liveness.ONLINE or age <= SUSPECT_BEATS
    assert bool(list(fleet.agents("train", now))) <= (status is Liveness.ONLINE)


def test_silent_nodes_are_removed_when_new_ones_appear() -> None:
    """An agent in a container may have a new name at each start; the number must be bounded."""
    fleet = Fleet(BEAT)
    for number in range(2000):
        fleet.update(state(f"agent.{number}"), number * FORGOTTEN_SECONDS / 10)
    now = 1999 * FORGOTTEN_SECONDS / 10
    known = [number for number in range(2000) if fleet.incarnation(f"agent.{number}")]
    assert known == list(range(1989, 2000))
    fleet.update(state("agent.0", incarnation=7), now)
    assert fleet.liveness("agent.0", now) is Liveness.ONLINE
