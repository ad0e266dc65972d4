"""Selectors: who is asked in a round. Functions of facts and chance."""

from collections.abc import Sequence
from random import Random

from fedbus.plugins import AgentInfo


def uniform(agents: Sequence[AgentInfo], want: int, rng: Random) -> Sequence[str]:
    """Pick by equal chance, without replacement."""
    names = sorted(info.agent for info in agents)
    return rng.sample(names, min(want, len(names)))
