"""Adaptive synchronization over many rounds, against a transcription of Plato's algorithm."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbus.wire.compression import SYNC_STATE, SyncFrequency
from fedbus_collector.aggregation.sync_observer import SyncObserver
from tests.collector.aggregation.observed_rounds import ObservedRounds

NUMBERS = 12


class PlatoSync:
    """`update_sync_frequency` of Plato, for one received update in each round.

    Its result of the halving is rounded down to a whole number of epochs.
    """

    def __init__(self, frequency: int, window: int, warm_up: int) -> None:
        self.frequency, self.window, self.warm_up = frequency, window, warm_up
        self.minimum, self.minimum_at, self.round_id = 1.1, 0, 0
        self.positive, self.negative = np.zeros(NUMBERS), np.zeros(NUMBERS)

    def update(self, delta: NDArray[np.float64]) -> None:
        """Take over an update."""
        self.positive = self.positive * 0.99 + np.where(delta > 0, delta, 0) * (1 - 0.99)
        self.negative = self.negative * 0.99 + np.where(delta < 0, delta, 0) * (1 - 0.99)
        base = self.positive - self.negative
        base = np.where(base == 0, 1, base)
        rate = float(np.sum(np.abs(self.positive + self.negative) / base)) / NUMBERS
        if self.minimum > rate:
            self.minimum, self.minimum_at = rate, self.round_id
        elif (
            self.round_id - self.minimum_at > self.window
            and self.frequency > 1
            and self.round_id > self.warm_up
        ):
            self.frequency = (self.frequency + 2 - 1) // 2
            self.minimum, self.minimum_at = 1.1, self.round_id
            self.window *= 2
            self.positive, self.negative = np.zeros(NUMBERS), np.zeros(NUMBERS)
        self.round_id += 1


def test_the_epochs_are_those_of_plato() -> None:
    """Until one epoch is left, after ever longer windows, with the state handed on each round."""
    terms = SyncFrequency(epochs=10, window=3, warm_up=8)
    plato = PlatoSync(10, 3, 8)

    def observe(round_: int, numbers: dict[str, float]) -> SyncObserver:
        return SyncObserver(terms, round_, numbers)

    job = ObservedRounds({"w": np.zeros(NUMBERS, np.float32)}, observe, SYNC_STATE)
    rng = np.random.default_rng(5)
    epochs = []
    for round_ in range(240):
        update: NDArray[Any] = (0.1 + rng.standard_normal(NUMBERS) * (round_ % 7)).astype("f4")
        update[0] = 0
        job.run({"w": update})
        plato.update(update.astype(np.float64))
        epochs.append(int(job.numbers["sync_epochs"]))
        assert epochs[-1] == plato.frequency, f"after round {round_ + 1}"
        assert job.numbers["sync_window"] == plato.window
        assert job.numbers["sync_since"] == plato.minimum_at
        np.testing.assert_allclose(job.numbers["sync_minimum"], plato.minimum, rtol=1e-5)
        assert job.frozen is None
    assert epochs[8] == 10, "not before the warm-up is over"
    assert sorted({*epochs}, reverse=True) == [10, 5, 3, 2, 1]


def test_a_job_of_one_epoch_keeps_it() -> None:
    """There is nothing to halve."""
    terms = SyncFrequency(epochs=1, window=1, warm_up=0)
    job = ObservedRounds(
        {"w": np.zeros(2, np.float32)},
        lambda round_, numbers: SyncObserver(terms, round_, numbers),
        SYNC_STATE,
    )
    for sign in (1, 1, 1, 1):
        job.run({"w": np.full(2, sign, np.float32)})
    assert job.numbers == {
        "sync_epochs": 1,
        "sync_window": 1,
        "sync_minimum": 1.0,
        "sync_since": 0,
    }
