"""Adaptive synchronization: fewer local epochs once the combined updates pull to and fro.

GIFT, as Plato's `adaptive_sync_algorithm.py` has it. For each trained number two moving averages
are kept, of the positive and of the negative parts of its updates. |positive + negative| /
(positive - negative) is 1 while it moves in one direction and 0 while it moves to and fro; its mean
over all numbers is the consistency. If the consistency has had no new minimum for `window` rounds,
and `warm_up` rounds are over, the epochs are halved, the window is doubled, and the averages begin
again.

Plato adds the parts of each agent's update; here they are those of the combined update, because a
collector that adds updates to a running total does not keep them apart.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from fedbus.wire.compression import SYNC_STATE, SyncFrequency
from fedbus_collector.aggregation.update_observers import ObservedBlock

EPOCHS: Final = "sync_epochs"
"""The state's number: the local epochs of the next round."""
WINDOW: Final = "sync_window"
"""The state's number: rounds without a new minimum after which the epochs are halved."""
MINIMUM: Final = "sync_minimum"
"""The state's number: the least consistency, or NO_MINIMUM if the averages begin again."""
SINCE: Final = "sync_since"
"""The state's number: the round of that minimum."""
NO_MINIMUM: Final = 1.1
"""Greater than any consistency."""
MOVING_AVERAGE: Final = 0.99
"""Weight of the past in the moving averages."""


class SyncObserver:
    """Decides after a round how many epochs the agents train in the next one.

    Args:
        terms: The job's parameters.
        round_: The round since the strategy's state began, 1 for the first.
        numbers: Those of the state before this round.
    """

    arrays = SYNC_STATE

    def __init__(self, terms: SyncFrequency, round_: int, numbers: Mapping[str, float]) -> None:
        self._terms = terms
        self._round = round_ - 1  # counted from 0, as Plato's warm-up does
        self._epochs = int(numbers.get(EPOCHS, terms.epochs))
        self._window = int(numbers.get(WINDOW, terms.window))
        self._minimum = numbers.get(MINIMUM, NO_MINIMUM)
        self._since = int(numbers.get(SINCE, 0))
        self._begins = self._minimum >= NO_MINIMUM
        self._sum = 0.0
        self._count = 0

    def observe(self, block: ObservedBlock) -> None:
        """Add a block to the averages, and to the consistency."""
        positive, negative = (block.arrays[name] for name in SYNC_STATE)
        for average, part in (
            (positive, np.maximum(block.update, 0)),
            (negative, np.minimum(block.update, 0)),
        ):
            average[:] = (0 if self._begins else MOVING_AVERAGE * average) + (
                1 - MOVING_AVERAGE
            ) * part
        moved = positive - negative
        consistency = np.abs(positive + negative) / np.where(moved == 0, 1, moved)
        self._sum += float(consistency.sum())
        self._count += consistency.size

    def numbers(self) -> dict[str, float]:
        """Return the epochs of the next round, and what the next decision depends on."""
        epochs, window, minimum, since = self._epochs, self._window, self._minimum, self._since
        consistency = self._sum / self._count
        late = self._round > self._terms.warm_up and self._round - since > window
        if consistency < minimum:
            minimum, since = consistency, self._round
        elif epochs > 1 and late:
            epochs, window = (epochs + 1) // 2, 2 * window
            minimum, since = NO_MINIMUM, self._round
        return {EPOCHS: epochs, WINDOW: window, MINIMUM: minimum, SINCE: since}

    @staticmethod
    def frozen() -> None:
        """Freeze nothing."""
