"""Second computation of what adaptive freezing and synchronization keep after a round."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedbus.simulation.stored_records import RecordsError
from fedbus.wire.compression import FREEZING_STATE, SYNC_STATE, Freezing, SyncFrequency
from fedbus.wire.strategies import Strategy

Vector = NDArray[np.float64]

_TIE = 1e-6
"""Relative distance from a threshold at which two computations may decide differently."""
_FREEZING_NUMBERS = ("freezing_threshold", "freezing_ratio")
_SYNC_NUMBERS = ("sync_epochs", "sync_window", "sync_minimum", "sync_since")
_WEIGHT_OF_PAST = 0.99
_BEGINS_AGAIN = 1.1


def observed_arrays(strategy: Strategy) -> tuple[str, ...]:
    """Return the names of the state arrays that no server optimizer keeps."""
    freezing = () if strategy.freezing is None else FREEZING_STATE
    return (*freezing, *(() if strategy.sync is None else SYNC_STATE))


def observed_numbers(strategy: Strategy) -> tuple[str, ...]:
    """Return the names of the state's numbers that are kept beside those arrays."""
    freezing = () if strategy.freezing is None else _FREEZING_NUMBERS
    return (*freezing, *(() if strategy.sync is None else _SYNC_NUMBERS))


@dataclass(frozen=True, kw_only=True)
class ObservedRound:
    """What a round's observers see, and what is stored after it.

    Attributes:
        update: The combined update, zero where frozen.
        frozen: Which numbers the round left out.
        round: Since the state began, 1 for the first.
        rng: Draws how long numbers are frozen by chance.
        before: The arrays and the numbers of the state before the round.
        after: Those that are stored.
        frozen_after: Which numbers the stored state leaves out.
    """

    what: str
    update: Vector
    frozen: NDArray[np.bool_]
    round: int
    rng: np.random.Generator
    before: Mapping[str, Vector]
    numbers_before: Mapping[str, float]
    after: Mapping[str, Vector]
    numbers_after: Mapping[str, float]
    frozen_after: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    def check(self, strategy: Strategy) -> None:
        """Raise RecordsError unless the stored state is what the round makes of the one before."""
        if strategy.freezing is not None:
            self._check_freezing(strategy.freezing)
        elif self.frozen_after.any():
            raise RecordsError(f"{self.what} freezes numbers, and its strategy freezes none")
        if strategy.sync is not None:
            self._check_sync(strategy.sync)

    def _check_freezing(self, terms: Freezing) -> None:
        mean, absolute, until, period = (self.before[name].copy() for name in FREEZING_STATE)
        sent, share = ~self.frozen, terms.moving_average
        mean[sent] = (share * mean + (1 - share) * self.update)[sent]
        absolute[sent] = (share * absolute + (1 - share) * np.abs(self.update))[sent]
        threshold = self.numbers_before.get("freezing_threshold", terms.stability_threshold)
        gap = np.abs(mean) - threshold * absolute
        tie = sent & (np.abs(gap) <= _TIE * absolute)
        chance = np.zeros(sent.size)
        if terms.random_freezing:
            drawn = self.rng.random(sent.size) * 100
            chance = np.where(drawn < self.round / 20, np.trunc(drawn), 0)
        options = []
        for stable in (gap < 0, (gap < 0) ^ tie):
            longer = np.where(sent, np.where(stable, period + 1, np.floor(period / 2)), period)
            waking = np.where(sent, self.round + 1 + longer + chance, until)
            options.append((waking, longer))
        self._check_averages("freezing_mean", mean, absolute)
        self._check_averages("freezing_absolute", absolute, absolute)
        found = self.after["freezing_until"], self.after["freezing_period"]
        fits = [(found[0] == waking) & (found[1] == longer) for waking, longer in options]
        if wrong := int((~fits[0] & ~fits[1]).sum()):
            raise RecordsError(f"{self.what} freezes {wrong} numbers wrongly")
        if not np.array_equal(self.frozen_after, found[0] > self.round + 1):
            raise RecordsError(f"{self.what}: the frozen bits contradict the state's arrays")
        ratio = float(self.frozen_after.mean())
        tight = ratio > terms.tight_threshold
        expected = {"freezing_threshold": threshold / 2 if tight else threshold}
        self._check_numbers({**expected, "freezing_ratio": ratio})

    def _check_sync(self, terms: SyncFrequency) -> None:
        numbers = self.numbers_before
        minimum = numbers.get("sync_minimum", _BEGINS_AGAIN)
        past = 0.0 if minimum >= _BEGINS_AGAIN else _WEIGHT_OF_PAST
        parts = np.clip(self.update, 0, None), np.clip(self.update, None, 0)
        kept = [
            past * self.before[name] + (1 - _WEIGHT_OF_PAST) * part
            for name, part in zip(SYNC_STATE, parts, strict=True)
        ]
        moved = kept[0] - kept[1]
        for name, array in zip(SYNC_STATE, kept, strict=True):
            self._check_averages(name, array, moved)
        ratios = np.divide(np.abs(kept[0] + kept[1]), moved, out=moved * 0, where=moved != 0)
        consistency, number = float(ratios.mean()), self.round - 1
        epochs = numbers.get("sync_epochs", terms.epochs)
        window = numbers.get("sync_window", terms.window)
        since = numbers.get("sync_since", 0)
        lower = epochs, window, consistency, number
        later = number - since > window and number > terms.warm_up and epochs > 1
        halved = (epochs + 1) // 2, 2 * window, _BEGINS_AGAIN, number
        higher = halved if later else (epochs, window, minimum, since)
        near = abs(consistency - minimum) <= _TIE
        allowed = (lower, higher) if near else (lower if consistency < minimum else higher,)
        self._check_numbers(*(dict(zip(_SYNC_NUMBERS, each, strict=True)) for each in allowed))

    def _check_averages(self, name: str, expected: Vector, scale: Vector) -> None:
        error = np.abs(self.after[name] - expected)
        if not (error <= _TIE * (scale + np.abs(expected)) + np.finfo(np.float32).tiny).all():
            raise RecordsError(
                f"{self.what}: the state array {name!r} is another one: it differs by"
                f" {error.max():.3g}"
            )

    def _check_numbers(self, *allowed: Mapping[str, float]) -> None:
        names: Sequence[str] = [*allowed[0]]
        stored = [self.numbers_after.get(name, np.nan) for name in names]
        if not any(
            np.allclose(stored, [each[name] for name in names], rtol=_TIE, atol=0)
            for each in allowed
        ):
            raise RecordsError(
                f"{self.what} keeps {dict(zip(names, stored, strict=True))}, expected {allowed[0]}"
            )
