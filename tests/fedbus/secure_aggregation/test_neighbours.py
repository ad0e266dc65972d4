"""The graph of neighbours, and what a threshold on it promises."""

import random
from itertools import pairwise

import pytest

from fedbus.errors import MaskingError
from fedbus.secure_aggregation.masked_task import MaskedTask
from fedbus.secure_aggregation.neighbours import (
    NeighbourGraph,
    colluders_tolerated,
    least_of,
    tolerance_of,
)
from tests.fedbus.secure_aggregation.masked_agents import TASK, names, terms


@pytest.mark.parametrize(
    ("count", "neighbours", "size"), [(3, 20, 3), (21, 20, 21), (22, 20, 21), (40, 7, 9), (9, 2, 3)]
)
def test_each_neighbourhood_has_one_size_and_neighbours_are_mutual(
    count: int, neighbours: int, size: int
) -> None:
    """An odd number of neighbours is rounded up, since half of them stand on either side."""
    graph = NeighbourGraph(TASK, names(count), terms(neighbours))
    assert graph.size == size
    for agent in names(count):
        near = graph.neighbours(agent)
        assert len(near) == size - 1
        assert graph.neighbourhood(agent) == tuple(sorted((*near, agent)))
        assert all(agent in graph.neighbours(other) for other in near)


def test_the_graph_depends_on_the_set_of_agents_and_on_the_task_alone() -> None:
    """Agents and collector compute it each for themselves."""
    agents = list(names(50))
    first = NeighbourGraph(TASK, agents, terms(6))
    random.Random(1).shuffle(agents)
    again = NeighbourGraph(TASK, agents, terms(6))
    assert [first.neighbours(each) for each in agents] == [
        again.neighbours(each) for each in agents
    ]
    assert first.digest == again.digest
    later = NeighbourGraph(MaskedTask(job="digits", round=3, task=8), agents, terms(6))
    fewer = NeighbourGraph(TASK, agents[1:], terms(6))
    agent = agents[5]
    assert len({graph.neighbours(agent) for graph in (first, later, fewer)}) == 3


def test_graphs_of_other_terms_have_other_digests() -> None:
    """Agents that were given a lower threshold exchange no shares with the others."""
    digests = {
        NeighbourGraph(TASK, names(9), each).digest
        for each in (terms(4), terms(6), terms(4, threshold=0.9))
    }
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("threshold", "size", "least"),
    [(0.67, 21, 15), (0.55, 20, 11), (0.51, 3, 2), (0.500001, 20, 11), (1.0, 7, 7), (0.75, 4, 3)],
)
def test_a_threshold_is_rounded_up_and_always_more_than_half(
    threshold: float, size: int, least: int
) -> None:
    """0.55 of 20 is 11, though 0.55 * 20 is a little more in floating point."""
    assert least_of(threshold, size) == least
    assert 2 * least > size


@pytest.mark.parametrize("threshold", [0.5, 0.1, 1.01])
def test_a_threshold_of_half_or_less_is_refused(threshold: float) -> None:
    """Two sets could both have it."""
    with pytest.raises(MaskingError, match=r"not above 0\.5"):
        least_of(threshold, 20)


def opened_groups(
    count: int, reach: int, least: int, views: list[int], survived: list[set[int]]
) -> list[set[int]]:
    """Return the groups of agents on a circle whose sums a dishonest collector can open.

    Args:
        count: Agents on the circle, all honest.
        reach: Neighbours on either side.
        least: The threshold.
        views: Which set each agent was shown.
        survived: The sets.
    """

    def near(agent: int) -> list[int]:
        return [(agent + step) % count for step in range(-reach, reach + 1)]

    def signs(agent: int) -> bool:
        there = survived[views[agent]]
        return agent in there and all(
            len(there.intersection(near(other))) >= least for other in there
        )

    signers = {agent for agent in range(count) if signs(agent)}
    revealing = {
        agent
        for agent in signers
        if sum(other in signers and views[other] == views[agent] for other in near(agent)) >= least
    }
    seeds, keys = set(), set()
    for agent in range(count):
        held = [by for by in near(agent) if by in revealing]
        seed_shares = sum(agent in survived[views[by]] for by in held)
        if seed_shares >= least:
            seeds.add(agent)
        if len(held) - seed_shares >= least:
            keys.add(agent)
    assert not seeds & keys
    groups, left = [], set(range(count)) - keys
    while left:
        group, border = set(), {left.pop()}
        while border:
            agent = border.pop()
            group.add(agent)
            reached = left.intersection(near(agent))
            left -= reached
            border |= reached
        if group <= seeds:
            groups.append(group)
    return groups


def attack(seed: int, *, safe: bool) -> tuple[int, list[set[int]], list[set[int]]]:
    """Return the threshold, the sets that a collector shows, and the groups that it opens.

    Each of two to four arcs of the circle is shown a set of its own. The threshold is the least for
    which no colluders are tolerated, or just above half.
    """
    drawn = random.Random(seed)
    reach = drawn.choice([2, 3, 5])
    size = 2 * reach + 1
    least = reach + 1
    while safe and colluders_tolerated(least, size, complete=False) < 0:
        least += 1
    count = drawn.randrange(size + 1, 6 * size)
    cuts = sorted(drawn.sample(range(count), drawn.randrange(2, 5)))
    survived = []
    for _ in cuts:
        rate, first, length = drawn.choice([0, 0.02, 0.1]), drawn.randrange(count), 0
        if drawn.random() < 0.3:
            length = drawn.randrange(2 * size)
        gone = {(first + step) % count for step in range(length)}
        survived.append({a for a in range(count) if drawn.random() > rate} - gone)
    views = [0] * count
    for number, (start, end) in enumerate(pairwise([*cuts, cuts[0] + count])):
        for place in range(start, end):
            views[place % count] = number
    return least, survived, opened_groups(count, reach, least, views, survived)


@pytest.mark.parametrize("seed", range(200))
def test_no_choice_of_sets_on_a_circle_opens_less_than_the_threshold(seed: int) -> None:
    """A collector shows other sets at other places, and opens parts of one set, none too small."""
    least, survived, groups = attack(seed, safe=True)
    for group in groups:
        assert len(group) >= least
        assert any(group <= there for there in survived)


def test_just_above_half_is_too_little_on_a_circle() -> None:
    """Sums are opened that have agents of different sets: there was no agreement."""
    mixed = [
        seed
        for seed in range(1000)
        for _, survived, groups in [attack(seed, safe=False)]
        if any(not any(group <= there for there in survived) for group in groups)
    ]
    assert mixed


def test_colluders_that_are_tolerated() -> None:
    """The figures of docs and ADR."""
    assert colluders_tolerated(15, 21, complete=False) == 0
    assert colluders_tolerated(17, 21, complete=False) == 3
    assert colluders_tolerated(15, 21, complete=True) == 8
    assert colluders_tolerated(11, 21, complete=True) == 0
    assert colluders_tolerated(11, 21, complete=False) == -1
    assert colluders_tolerated(28, 41, complete=False) == 0
    assert colluders_tolerated(30, 41, complete=False) == 3


def test_a_sum_of_one_honest_agent_is_not_tolerated() -> None:
    """If all must survive, all but two may collude, not all but one."""
    assert colluders_tolerated(5, 5, complete=True) == 3
    assert colluders_tolerated(3, 3, complete=True) == 1


@pytest.mark.parametrize(
    ("neighbours", "threshold", "agents", "expected"),
    [
        (40, 0.67, 100, (41, 28, 13, 0)),
        (40, 0.72, 100, (41, 30, 11, 3)),
        (40, 0.67, 41, (41, 28, 13, 9)),
        (40, 0.67, 5, (5, 4, 1, 1)),
        (40, 0.67, 3, (3, 3, 0, 1)),
        (40, 0.51, 3, (3, 2, 1, 0)),
        (99, 0.6, 100, (100, 60, 40, 11)),
        (40, 0.6, 100, (41, 25, 16, -1)),
        (40, 0.67, 2, (2, 2, 0, -1)),
    ],
)
def test_terms_promise_what_holds_whichever_agents_are_left_out(
    neighbours: int, threshold: float, agents: int, expected: tuple[int, int, int, int]
) -> None:
    """Of 41 agents 14 colluding ones are tolerated, of 28 that the collector admits to, 9."""
    found = tolerance_of(terms(neighbours, threshold), agents)
    assert (found.size, found.least, found.drop_outs, found.colluders) == expected
