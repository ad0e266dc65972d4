"""Share of frozen parameters, bytes of updates and accuracy over rounds with adaptive freezing.

    python -m benchmarks.freezing --rounds 200 --moving-average 0.9 --threshold 0.05

FedAvg in one process on the digits of scikit-learn, with a network of about 100,000 parameters and
ten agents, beside the same rounds without freezing. The observer is the collector's, and a frozen
number keeps the value of the version. Bytes are those of an update without any other step. The
column `epochs` is what adaptive synchronization would let agents train in the next round.
"""

import argparse
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import publish
from benchmarks.strategies import agent_networks
from benchmarks.strategies.real_data import partitioned
from fedbus import compression
from fedbus.model.frozen_bits import FrozenBits
from fedbus.model.layout import Array
from fedbus.model.sections import join_section, section_numbers, split_section
from fedbus.training.local_terms import LocalTerms
from fedbus.wire.compression import FREEZING_STATE, SYNC_STATE, Freezing, SyncFrequency
from fedbus_collector.aggregation.freezing_observer import FreezingObserver
from fedbus_collector.aggregation.sync_observer import SyncObserver
from fedbus_collector.aggregation.update_observers import ObservedBlock, UpdateObserver

AGENTS: Final = 10
WIDTHS: Final = (64, 300, 260, 10)
BATCH: Final = 32
RATE: Final = 0.1
EPOCHS: Final = 3
State = dict[str, NDArray[np.float64]]


class ObservedJob:
    """A job whose combined updates are observed; without `freezing` nothing is frozen."""

    weights: dict[str, Array]
    frozen: FrozenBits | None

    def __init__(self, seed: int, freezing: Freezing | None, sync: SyncFrequency) -> None:
        self.parts = partitioned("digits", "iid", AGENTS, BATCH, seed, tuning=False)
        self.layout = agent_networks.layout_of(WIDTHS)
        first = agent_networks.initial_weights(WIDTHS, np.random.default_rng([seed, 0]))
        self.weights = dict(first)
        self.numbers: dict[str, float] = {}
        self.frozen = None
        self._seed, self._freezing, self._sync = seed, freezing, sync
        self._trained = section_numbers(self.layout)
        names = (*FREEZING_STATE, *SYNC_STATE)
        self._state: State = {name: np.zeros(self._trained) for name in names}

    def run(self, number: int) -> dict[str, Any]:
        """Run a round, and return its figures."""
        rng = np.random.default_rng([self._seed, number])
        update = self._mean_update(rng)
        held = None if self.frozen is None else self.frozen.read(0, self._trained)
        if held is not None:
            update[held] = 0
        count = 0 if self.frozen is None else self.frozen.count
        for name, change in split_section(update.astype(np.float32), self.layout).items():
            self.weights[name] = self.weights[name] + change
        for each in self._observers(number, rng):
            arrays = {name: self._state[name] for name in each.arrays}
            each.observe(ObservedBlock(update=update, arrays=arrays, frozen=held, position=0))
            self.numbers |= each.numbers()
            self.frozen = each.frozen() if isinstance(each, FreezingObserver) else self.frozen
        return {
            "round": number,
            "frozen": round(count / self._trained, 4),
            "update_bytes": compression.compressed_bounds(self.layout, (), count).most,
            "epochs": int(self.numbers["sync_epochs"]),
            "accuracy": agent_networks.accuracy(self.weights, self.parts.test_x, self.parts.test_y),
        }

    def _observers(self, number: int, rng: np.random.Generator) -> tuple[UpdateObserver, ...]:
        sync = SyncObserver(self._sync, number, self.numbers)
        if self._freezing is None:
            return (sync,)
        terms, kept = self._freezing, self.numbers
        return FreezingObserver(terms, number, kept, self._trained, rng), sync

    def _mean_update(self, rng: np.random.Generator) -> NDArray[np.float64]:
        batches = [_batches(rows, rng) for rows in self.parts.agents]
        trained = agent_networks.train(
            self.weights, self.parts.x, self.parts.y, batches, [LocalTerms()] * AGENTS,
            learning_rate=RATE,
        )  # fmt: skip
        shares = np.array([len(rows) for rows in self.parts.agents], np.float64)
        shares /= shares.sum()
        means = {
            name: np.tensordot(shares, trained[name] - array, 1).astype(np.float32)
            for name, array in self.weights.items()
        }
        return join_section(means, self.layout).astype(np.float64)


def _batches(rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    whole = len(rows) // BATCH * BATCH
    passes = [rng.permutation(rows)[:whole].reshape(-1, BATCH) for _ in range(EPOCHS)]
    return np.concatenate(passes)


def main() -> None:
    """Run both jobs, and print a table of some rounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threshold", type=float, default=0.05)
    parser.add_argument("--moving-average", type=float, default=0.99)
    parser.add_argument("--shown", type=int, default=10, help="lines of the table")
    parser.add_argument("--json", metavar="FILE", help="write all rounds there; - is stdout")
    options = parser.parse_args()
    terms = Freezing(stability_threshold=options.threshold, moving_average=options.moving_average)
    jobs = [ObservedJob(options.seed, each, SyncFrequency()) for each in (terms, None)]
    lines = []
    for number in range(1, options.rounds + 1):
        frozen, plain = (job.run(number) for job in jobs)
        lines.append({**frozen, "accuracy_without": plain["accuracy"]})
    every = max(1, options.rounds // options.shown)
    publish({"benchmark": "freezing", "lines": lines}, lines[every - 1 :: every], options.json)
    sent = sum(line["update_bytes"] for line in lines)
    whole = compression.compressed_bounds(jobs[0].layout, ()).most * options.rounds
    print(f"all rounds: {sent / whole:.4f} of the bytes")


if __name__ == "__main__":
    main()
