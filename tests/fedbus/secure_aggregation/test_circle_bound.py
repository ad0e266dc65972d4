"""The bound on circles of neighbours, checked for every choice of a collector on small circles.

The proof is in ADR 36. Agents are places 0, 1, …; a set of agents is a whole number, bit by bit.
"""

from collections.abc import Iterator
from itertools import combinations

import pytest

from fedbus.secure_aggregation.neighbours import colluders_tolerated


class Circle:
    """A circle of agents, some of which collude with the collector.

    Args:
        count: Agents on the circle.
        reach: Neighbours on either side.
        least: The threshold.
        colluders: The places of colluding agents: they sign every set, and reveal every share.
    """

    def __init__(self, count: int, reach: int, least: int, colluders: tuple[int, ...] = ()) -> None:
        self.least = least
        self.everyone = 2**count - 1
        self.colluders = sum(1 << place for place in colluders)
        self.honest = self.everyone & ~self.colluders
        self.places = [place for place in range(count) if self.honest >> place & 1]
        self.near = [
            sum(1 << (place + step) % count for step in range(-reach, reach + 1))
            for place in range(count)
        ]

    def most_colluders(self) -> int:
        """Return the most colluding agents in a neighbourhood of an honest agent."""
        return max((self.near[place] & self.colluders).bit_count() for place in self.places)

    def signable(self) -> list[int]:
        """Return the sets that an honest agent signs: enough of each neighbourhood survive."""
        return [
            agents
            for agents in range(1, self.everyone + 1)
            if all(
                (agents & near).bit_count() >= self.least
                for place, near in enumerate(self.near)
                if agents >> place & 1
            )
        ]

    def opened(self, shown: dict[int, int]) -> list[int]:
        """Return the groups of honest agents whose sums a collector can open.

        Args:
            shown: The honest agents that each set of survivors is shown to.
        """
        revealing = []
        for survivors, agents in shown.items():
            signers = agents & survivors
            enough = signers | self.colluders
            revealing.append((survivors, self._revealing(signers, enough)))
        seeds = keys = 0
        for place in self.places:
            near, bit = self.near[place], 1 << place
            helped = (near & self.colluders).bit_count()
            by_seed = sum((near & by).bit_count() for s, by in revealing if s & bit) + helped
            by_key = sum((near & by).bit_count() for s, by in revealing if not s & bit) + helped
            seeds |= bit * (by_seed >= self.least)
            keys |= bit * (by_key >= self.least)
        assert not seeds & keys, "both secrets of an agent"
        return [group for group in self._joined(self.honest & ~keys) if not group & ~seeds]

    def _revealing(self, signers: int, signed: int) -> int:
        """Return the honest agents that reveal shares: enough of their neighbours signed."""
        return sum(
            1 << place
            for place in self.places
            if signers >> place & 1 and (self.near[place] & signed).bit_count() >= self.least
        )

    def _joined(self, left: int) -> Iterator[int]:
        """Yield the groups of agents that are joined by masks which no other agent knows."""
        while left:
            group, border = 0, left & -left
            while border:
                group |= border
                left &= ~border
                reached = 0
                for place in self.places:
                    if border >> place & 1:
                        reached |= self.near[place]
                border = reached & left
            yield group


def choices(circle: Circle, sets: int, *, silent: bool) -> Iterator[dict[int, int]]:
    """Yield every way to show each honest agent one of that many sets, which it is in.

    Agents that are in none of them are shown none; with `silent`, also every choice of others.
    """
    for shown in combinations(circle.signable(), sets):
        found = [dict.fromkeys(shown, 0)]
        for place in circle.places:
            bit = 1 << place
            more = [
                {**views, survivors: agents | bit}
                for views in found
                for survivors, agents in views.items()
                if survivors & bit
            ]
            found = more + found if silent else more or found
        yield from found


def faults(circle: Circle, tolerated: int, sets: int, *, silent: bool = False) -> tuple[int, int]:
    """Return how many groups were opened, and how many of them the bound rules out."""
    opened = wrong = 0
    for shown in choices(circle, sets, silent=silent):
        for group in circle.opened(shown):
            opened += 1
            small = group.bit_count() < circle.least - tolerated
            wrong += small or not any(not group & ~survivors for survivors in shown)
    return opened, wrong


@pytest.mark.parametrize(
    ("count", "reach", "least", "colluders", "sets", "silent"),
    [
        (6, 2, 4, (), 2, True),
        (7, 2, 4, (), 2, True),
        (7, 2, 4, (), 3, False),
        (9, 2, 4, (), 2, False),
        (8, 3, 6, (0,), 2, True),
        (8, 3, 6, (0,), 3, False),
        (10, 3, 6, (0,), 2, False),
        (10, 4, 8, (0, 1), 2, False),
        (10, 4, 8, (0, 2), 2, False),
        (10, 4, 8, (0, 5), 2, False),
        (11, 4, 8, (0, 1), 2, False),
        (11, 4, 8, (0, 4), 2, False),
    ],
)  # fmt: skip
def test_no_choice_of_sets_opens_less_than_the_bound_says(
    count: int, reach: int, least: int, colluders: tuple[int, ...], sets: int, *, silent: bool
) -> None:
    """With none, one and two colluding agents, as many as the threshold tolerates.

    What is opened is the sum of enough honest agents of one set, and never both secrets of one.
    """
    circle = Circle(count, reach, least, colluders)
    tolerated = colluders_tolerated(least, 2 * reach + 1, complete=False)
    assert circle.most_colluders() == tolerated == len(colluders)
    opened, wrong = faults(circle, tolerated, sets, silent=silent)
    assert opened
    assert not wrong


def test_just_above_half_fails_the_same_check() -> None:
    """So it finds attacks where there are some: agents of different sets in one sum."""
    circle = Circle(8, 2, 3)
    assert colluders_tolerated(3, 5, complete=False) == -1
    _, wrong = faults(circle, 0, 2)
    assert wrong
