"""Attacks of malicious agents: a wrong update, or training on wrong labels. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

CLASSES: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """An attack by the first `share` of the agents; by default there is none.

    Attributes:
        flip_sign: Send the own, honest update times -`flip_sign`.
        flip_labels: Train with class 9 - y in place of y.
    """

    share: float = 0.0
    flip_sign: float = 0.0
    flip_labels: bool = False

    def agents_of(self, agents: int) -> frozenset[int]:
        """Return the numbers of the malicious agents."""
        return frozenset(range(round(self.share * agents)))

    def update(self, update: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what a malicious agent sends in place of its update."""
        return -self.flip_sign * update if self.flip_sign else update

    def labels(
        self,
        y: NDArray[np.int64],
        agents: Sequence[NDArray[np.int64]],
        malicious: Collection[int],
    ) -> NDArray[np.int64]:
        """Return the labels that the agents train with."""
        if not self.flip_labels:
            return y
        changed = y.copy()
        for agent in malicious:
            changed[agents[agent]] = CLASSES - 1 - y[agents[agent]]
        return changed
