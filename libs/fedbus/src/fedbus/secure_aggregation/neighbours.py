"""Graph of a masked round: with which agents each agent exchanges masks and shares. Pure.

The agents are put in an order by SHA-256, as on a circle, and each is a neighbour of the nearest
half of `neighbours` on either side. With no more agents than `neighbours` + 1, all are neighbours.
Each node computes the same graph from the names alone.

Who chooses the agents of a task can try many choices until agents that collude with it stand beside
an agent: that the order looks random is no protection. So `colluders_tolerated` counts the
colluding agents in one neighbourhood, however they came there.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Final

from fedbus.errors import MaskingError
from fedbus.secure_aggregation.masked_task import (
    LEAST_MASKED_AGENTS,
    MaskedTask,
    digest_of_agents,
)
from fedbus.wire.secure_aggregation import SecureAggregationTerms

_ROUNDING: Final = 1e-9
"""0.55 * 20 is 11.000000000000002 in floating point."""


class NeighbourGraph:
    """The neighbours of each agent of a task; the same for each order of its agents."""

    def __init__(
        self, task: MaskedTask, agents: Sequence[str], terms: SecureAggregationTerms
    ) -> None:
        self.agents = tuple(sorted(agents))
        self._terms = terms
        seed = task.bound("neighbours", *self.agents)
        self._circle = sorted(
            self.agents, key=lambda name: (hashlib.sha256(seed + name.encode()).digest(), name)
        )
        self._at = {name: place for place, name in enumerate(self._circle)}
        self._reach = (terms.neighbours + 1) // 2
        self._known: dict[str, tuple[str, ...]] = {}

    @cached_property
    def complete(self) -> bool:
        """Whether all agents are neighbours."""
        return 2 * self._reach + 1 >= len(self.agents)

    @property
    def size(self) -> int:
        """Agents of one neighbourhood; all have the same number."""
        return len(self.agents) if self.complete else 2 * self._reach + 1

    @property
    def least(self) -> int:
        """The threshold: how many agents of a neighbourhood must share, sign and survive."""
        return least_of(self._terms.threshold, self.size)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the graph depends on; agents with other graphs exchange no shares."""
        return digest_of_agents((str(self._reach), str(self.least), *self.agents))

    def neighbourhood(self, agent: str) -> tuple[str, ...]:
        """Return an agent and its neighbours, sorted; the n-th holds the share of number n + 1."""
        if self.complete:
            return self.agents
        if agent not in self._known:
            place, count = self._at[agent], len(self._circle)
            span = range(place - self._reach, place + self._reach + 1)
            self._known[agent] = tuple(sorted(self._circle[at % count] for at in span))
        return self._known[agent]

    def neighbours(self, agent: str) -> tuple[str, ...]:
        """Return the neighbours of an agent, sorted, without itself."""
        return tuple(name for name in self.neighbourhood(agent) if name != agent)

    def left_alone(self, present: Sequence[str], of: Sequence[str]) -> tuple[str, ...]:
        """Return those of some agents in whose neighbourhood fewer than `least` are present."""
        there, least = set(present), self.least
        return tuple(
            agent for agent in of if len(there.intersection(self.neighbourhood(agent))) < least
        )


def least_of(threshold: float, size: int) -> int:
    """Return how many of `size` agents the threshold asks for: always more than half.

    Raises:
        MaskingError: The threshold is not above one half and at most 1.
    """
    if not 0.5 < threshold <= 1:  # noqa: PLR2004 - a half: two sets would both have their majority
        raise MaskingError(f"the threshold {threshold} is not above 0.5 and at most 1")
    return max(ceil(threshold * size - _ROUNDING), size // 2 + 1)


def colluders_tolerated(least: int, size: int, *, complete: bool) -> int:
    """Return the most agents of a neighbourhood, c, that may collude with a dishonest collector.

    It then learns no more than sums of `least` - c honest agents, at least two; -1: it may learn
    more by itself. With all agents as neighbours, two sets cannot both be agreed on if 2 * least >
    size + c. On a circle the collector may show other sets at other places, so that 3 * least must
    be above 2 * size + 2 * c + 1: ADR 36 has the proof.
    """
    tolerated = 2 * least - size - 1 if complete else (3 * least - 2 * size - 2) // 2
    return max(min(tolerated, least - 2), -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What masked rounds of a cohort survive, and what they promise.

    Attributes:
        size: Agents of a neighbourhood if the whole cohort makes keys.
        least: How many of them must share, sign and survive.
        colluders: The most agents of a neighbourhood that may collude with a dishonest collector,
            whichever agents it leaves out; -1: it may learn more than sums by itself.
    """

    size: int
    least: int
    colluders: int

    @property
    def drop_outs(self) -> int:
        """Agents of a neighbourhood that may drop out."""
        return self.size - self.least


def tolerance_of(terms: SecureAggregationTerms, agents: int) -> Tolerance:
    """Return what terms promise for a cohort.

    A dishonest collector may say that agents have made no keys, as long as the threshold of the
    cohort has: among fewer agents, fewer colluding ones are tolerated.
    """
    most = 2 * ((terms.neighbours + 1) // 2) + 1
    size, circle = min(agents, most), agents > most
    colluders = [
        colluders_tolerated(least_of(terms.threshold, left), left, complete=True)
        for left in range(max(least_of(terms.threshold, agents), LEAST_MASKED_AGENTS), size + 1)
    ]
    least = least_of(terms.threshold, size)
    if circle:
        colluders.append(colluders_tolerated(least, size, complete=False))
    return Tolerance(size=size, least=least, colluders=min(colluders, default=-1))
