"""Adaptive parameter freezing: numbers that no longer move on average are not sent for a while.

Chen et al. 2021 (ICDCS). For each trained number two moving averages are kept, of its combined
updates and of their absolute values. Their quotient is near 1 while a number moves in one
direction, and near 0 while it moves to and fro. A number whose quotient is below a threshold is
frozen, each time for one round longer; one above it is half as long frozen the next time. While a
number is frozen, nothing about it changes. Once more than a share of all numbers is frozen, the
threshold is halved.

Plato's implementation (`adaptive_freezing_algorithm.py`) is followed in its arithmetic. It differs
in two lines, which make it freeze nothing: it clears the mask before each update, so frozen numbers
are counted as still, and it sends what it should freeze, since it compares the round of waking with
`>=`. Here a number is sent again in the round that is stored as the end of its freezing, as in the
paper.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedbus.model.frozen_bits import FrozenBits
from fedbus.wire.compression import FREEZING_STATE, Freezing
from fedbus_collector.aggregation.update_observers import ObservedBlock

THRESHOLD = "freezing_threshold"
"""The state's number: below which quotient a number is frozen."""
RATIO = "freezing_ratio"
"""The state's number: which share of the trained numbers is frozen in the next round."""
_CHANCE_ROUNDS = 20.0
_CHANCE_PERCENT = 100.0


class FreezingObserver:
    """Decides after a round which numbers the next one leaves out.

    Args:
        terms: The job's parameters.
        round_: The round since the strategy's state began, 1 for the first.
        numbers: Those of the state before this round.
        trained: How many trained numbers the model has.
        rng: Decides which numbers are frozen by chance.
    """

    arrays = FREEZING_STATE

    def __init__(
        self,
        terms: Freezing,
        round_: int,
        numbers: Mapping[str, float],
        trained: int,
        rng: np.random.Generator,
    ) -> None:
        self._terms = terms
        self._round = round_
        self._threshold = numbers.get(THRESHOLD, terms.stability_threshold)
        self._rng = rng
        self._next = FrozenBits(trained)

    def observe(self, block: ObservedBlock) -> None:
        """Update averages and periods of the numbers that were sent."""
        mean, absolute, until, period = (block.arrays[name] for name in FREEZING_STATE)
        sent = np.ones(block.update.shape, np.bool_) if block.frozen is None else ~block.frozen
        alpha = self._terms.moving_average
        mean[sent] = alpha * mean[sent] + (1 - alpha) * block.update[sent]
        absolute[sent] = alpha * absolute[sent] + (1 - alpha) * np.abs(block.update[sent])
        # A number that has never moved has no quotient, and is not stable.
        stable = np.abs(mean) < self._threshold * absolute
        longer = np.where(stable, period + 1, period // 2)
        period[sent] = longer[sent]
        until[sent] = (self._round + longer + 1 + self._by_chance(block.update.size))[sent]
        self._next.freeze(block.position, until > self._round + 1)

    def _by_chance(self, numbers: int) -> NDArray[np.float64]:
        """Return for how many more rounds each number is frozen."""
        if not self._terms.random_freezing:
            return np.zeros(numbers)
        drawn = self._rng.random(numbers) * _CHANCE_PERCENT
        return np.where(drawn < self._round / _CHANCE_ROUNDS, np.floor(drawn), 0.0)

    @property
    def _ratio(self) -> float:
        return self._next.count / self._next.numbers

    def numbers(self) -> dict[str, float]:
        """Return the share that is frozen next, and the threshold of the next round."""
        tight = self._ratio > self._terms.tight_threshold
        return {THRESHOLD: self._threshold / 2 if tight else self._threshold, RATIO: self._ratio}

    def frozen(self) -> FrozenBits | None:
        """Return the bits for the next round; None if no number is frozen."""
        return self._next if self._next.count else None
