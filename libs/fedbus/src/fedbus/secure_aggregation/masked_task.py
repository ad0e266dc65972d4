"""Names of what keys, masks and signatures of a masked round are bound to. Pure."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from fedbus.errors import MaskingError
from fedbus.text import counted
from fedbus.wire.identifiers import role_of

LEAST_MASKED_AGENTS: Final = 3
"""With two, each agent computes the other's update from the sum and its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedTask:
    """One task of a masked round; keys are made for it, and for no other."""

    job: str
    round: int
    task: int

    def bound(self, domain: str, *parts: str) -> bytes:
        """Return bytes that no other domain, task or parts have: a context of HKDF, say."""
        return encoded((f"fedbus {domain}, version 1", self.job, *self._numbers, *parts))

    @property
    def _numbers(self) -> tuple[str, str]:
        return str(self.round), str(self.task)


def encoded(parts: Iterable[str]) -> bytes:
    """Return an encoding that no other parts have: each with its length before it."""
    each = (part.encode() for part in parts)
    return b"".join(len(part).to_bytes(4, "big") + part for part in each)


def digest_of_agents(agents: Sequence[str]) -> str:
    """Return the SHA-256 of a set of agents, which are sorted; 64 hex digits."""
    return hashlib.sha256(encoded(agents)).hexdigest()


def check_sorted(agents: Sequence[str], what: str) -> None:
    """Raise MaskingError unless each name stands once, in order, so that a set has one form."""
    for before, after in pairwise(agents):
        if before == after:
            raise MaskingError(f"{what} names {after} twice")
        if before > after:
            raise MaskingError(f"{what} is not sorted: {after} comes after {before}")


def check_roles(nodes: Iterable[str], what: str) -> None:
    """Raise MaskingError if a node is no agent.

    Another service, or a user, could announce an identity of its own and be counted as an agent.
    """
    if others := sorted(node for node in nodes if role_of(node) != "agent"):
        raise MaskingError(f"{what} names {others[0]}, which is no agent")


def check_subset(agents: Sequence[str], of: Sequence[str], what: str) -> None:
    """Raise MaskingError unless the agents, sorted, are among others."""
    check_sorted(agents, what)
    if strangers := sorted(set(agents) - set(of)):
        raise MaskingError(f"{what} names {strangers[0]}, which was not in the step before")


def check_large_enough(agents: Sequence[str], least: int, what: str) -> None:
    """Raise MaskingError if too few agents are left for a sum that hides each update."""
    least = max(least, LEAST_MASKED_AGENTS)
    if len(agents) < least:
        raise MaskingError(f"{what} has {counted(len(agents), 'agent')}, and needs {least}")
