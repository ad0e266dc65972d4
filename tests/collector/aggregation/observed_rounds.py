"""Rounds of a model whose combined updates are observed, with the state handed on between them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbus.model.frozen_bits import FrozenBits
from fedbus_collector.aggregation.server_step import ServerStep
from fedbus_collector.aggregation.update_observers import UpdateObserver
from tests.collector.aggregation.aggregated_round import AggregatedRound, Numbers

Observe = Callable[[int, dict[str, float]], UpdateObserver]
"""Makes the observer of a round, from its number and the numbers of the state before it."""


class ObservedRounds:
    """A job of one agent: each round's combined update is what the test gives it.

    Attributes:
        weights: Those of the newest version.
        numbers: Those of the newest state.
        state: Its arrays.
        frozen: The numbers that the next round leaves out.
    """

    def __init__(
        self,
        weights: Numbers,
        observe: Observe,
        names: Sequence[str],
        optimizer: Any = None,  # noqa: ANN401 - the calls of a server optimizer
    ) -> None:
        self.weights = weights
        self.numbers: dict[str, float] = {}
        self.state: Numbers | None = None
        self.frozen: FrozenBits | None = None
        self._observe, self._names, self._optimizer = observe, tuple(names), optimizer
        self._round = 0

    def run(self, update: Numbers) -> None:
        """Commit a round with this update; what is frozen is left out, as an agent does."""
        self._round += 1
        observer = self._observe(self._round, self.numbers)
        step = ServerStep(
            optimizer=self._optimizer,
            observers=(observer,),
            frozen=self.frozen,
            round=self._round,
            numbers=self.numbers,
        )
        work = AggregatedRound(self.weights, step=step, state_names=self._names)
        assert not work.give_update(dict(self._sent(update)))
        bits = work.spools.make(len(FrozenBits(work_numbers(self.weights)).blob(work.layout)))
        self.weights = {n: a.copy() for n, a in work.close(self.state, bits).items()}
        assert work.made is not None
        self.numbers, self.state = dict(work.made.numbers), work.state
        self.frozen = None
        if work.made.frozen is not None:
            assert bits.digest() == work.made.frozen
            self.frozen = FrozenBits.of_blob(bytes(bits.read(0, bits.size)), work.layout)

    def _sent(self, update: Numbers) -> Iterator[tuple[str, NDArray[Any]]]:
        at = 0
        for name, array in update.items():
            kept = array
            if self.frozen is not None:
                kept = np.where(self.frozen.read(at, array.size).reshape(array.shape), 0, array)
            at += array.size
            yield name, kept.astype(array.dtype)


def work_numbers(weights: Numbers) -> int:
    """Return how many numbers a model of trained tensors has."""
    return sum(array.size for array in weights.values())
