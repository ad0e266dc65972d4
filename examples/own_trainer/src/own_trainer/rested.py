"""A selector: who has waited longest comes first."""

from collections.abc import Sequence
from random import Random

from fedbus import AgentInfo


def rested(agents: Sequence[AgentInfo], want: int, rng: Random) -> Sequence[str]:
    """Prefer the agents that have waited longest; break ties by chance."""
    queue = sorted(agents, key=lambda agent: (agent.last_selected, rng.random()))
    return [agent.agent for agent in queue[:want]]
