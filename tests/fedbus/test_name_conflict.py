"""Two processes of one name find out, and nobody is taken for two."""

import random

from fedbus.name_conflict import NameConflict
from fedbus.service import LONGEST_CONFLICT_SECONDS, pause_after
from fedbus.wire.states import NodeState

OWN, LATER, EARLIER = 50, 60, 40


def word_of(incarnation: int) -> NodeState:
    """What is retained under our name."""
    return NodeState(node="agent.a", incarnation=incarnation, online=True)


def test_the_word_of_a_later_life_is_another_process() -> None:
    """Nobody has a life after his own while he lives."""
    conflict = NameConflict("agent.a", OWN)
    conflict.said()
    assert conflict.heard(word_of(LATER))
    assert conflict.count == 1
    assert conflict.trouble.startswith("another process logs in with the name agent.a")


def test_what_was_there_before_we_spoke_is_our_life_before() -> None:
    """After a restart the retained word is that of the process that ended."""
    conflict = NameConflict("agent.a", OWN)
    assert not conflict.heard(word_of(EARLIER))
    assert not conflict.heard(word_of(LATER))
    conflict.said()
    assert not conflict.heard(word_of(OWN))
    assert (conflict.count, conflict.trouble) == (0, "")


def test_the_word_of_an_earlier_life_counts_the_second_time() -> None:
    """A broker that was killed may come back with what it had saved of our life before."""
    conflict = NameConflict("agent.a", OWN)
    conflict.said()
    assert not conflict.heard(word_of(EARLIER))
    assert not conflict.heard(word_of(EARLIER))  # of the same connection
    conflict.said()
    assert conflict.heard(word_of(EARLIER))
    conflict.settled()
    assert conflict.trouble == ""


def test_a_broker_that_says_so_is_believed() -> None:
    """MQTT 5 has a reason code for it, which newer brokers send."""
    conflict = NameConflict("agent.a", OWN)
    conflict.told()
    assert conflict.count == 1


def test_who_shares_a_name_logs_in_ever_more_seldom() -> None:
    """Each login throws the other out; without a conflict a lost connection is soon back."""
    rng = random.Random(1)
    assert pause_after(0.2, 0, rng) < 0.31
    first = pause_after(0.2, 1, rng)
    assert 30.0 <= first <= 60.0
    assert pause_after(0.2, 3, rng) >= 120.0
    assert pause_after(0.2, 1000, rng) <= 2 * LONGEST_CONFLICT_SECONDS
