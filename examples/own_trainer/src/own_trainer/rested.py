"""A selector that prefers the agents that have waited longest."""

from collections.abc import Sequence
from random import Random

from fedbus import AgentInfo


def rested(agents: Sequence[AgentInfo], want: int, rng: Random) -> Sequence[str]:
    """Select the agents that have waited longest; break ties at random."""
    queue = sorted(agents, key=lambda agent: (agent.last_selected, rng.random()))
    return [agent.agent for agent in queue[:want]]
