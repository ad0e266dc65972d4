"""Selectors of a round's cohort: functions of facts about agents, and chance."""

from collections.abc import Sequence
from random import Random

from fedbus.plugins import AgentInfo


def uniform(agents: Sequence[AgentInfo], want: int, rng: Random) -> Sequence[str]:
    """Select agents with equal probability, without replacement (McMahan et al. 2017)."""
    names = sorted(info.agent for info in agents)
    return rng.sample(names, min(want, len(names)))
