"""Adaptive freezing over many rounds, against a transcription of Plato's algorithm."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedbus.plugins.collector_part_calls import ServerOptimizerCalls
from fedbus.plugins.part_caller import PartCaller
from fedbus.strategies.server_optimizers.momentum import Momentum
from fedbus.wire.compression import FREEZING_STATE, Freezing
from fedbus_collector.aggregation import new_version
from fedbus_collector.aggregation.freezing_observer import FreezingObserver
from tests.collector.aggregation.observed_rounds import ObservedRounds

NUMBERS = 40
Floats = NDArray[np.float64]


@dataclass
class Plato:
    """`update_sync_mask` and `update_stability_threshold` of Plato, with its two lines mended.

    The mask is not cleared before an update, and a parameter is active from its round of waking on.
    """

    alpha: float
    threshold: float
    tight: float
    rng: np.random.Generator | None = None
    current_round: int = 1
    averages: Floats = field(default_factory=lambda: np.zeros(NUMBERS))
    absolutes: Floats = field(default_factory=lambda: np.zeros(NUMBERS))
    durations: NDArray[np.int64] = field(default_factory=lambda: np.zeros(NUMBERS, np.int64))
    wake_up: NDArray[np.int64] = field(default_factory=lambda: np.zeros(NUMBERS, np.int64))
    mask: NDArray[np.bool_] = field(default_factory=lambda: np.ones(NUMBERS, np.bool_))

    def update(self, deltas: Floats) -> None:
        """Take over the deltas of a round, and decide what the next one sends."""
        drawn = None if self.rng is None else self.rng.random(NUMBERS) * 100
        for i in np.flatnonzero(self.mask):
            self.averages[i] = self.averages[i] * self.alpha + deltas[i] * (1 - self.alpha)
            self.absolutes[i] = self.absolutes[i] * self.alpha + abs(deltas[i]) * (1 - self.alpha)
            perturbation = (
                abs(self.averages[i]) / self.absolutes[i] if self.absolutes[i] else np.nan
            )
            if perturbation < self.threshold:
                self.durations[i] += 1
            else:
                self.durations[i] //= 2
            self.wake_up[i] = self.current_round + self.durations[i] + 1
            if drawn is not None and drawn[i] < self.current_round / 20.0:
                self.wake_up[i] += int(drawn[i])
        self.current_round += 1
        self.mask = self.wake_up <= self.current_round
        if 1 - self.mask.sum() / NUMBERS > self.tight:
            self.threshold /= 2.0


def updates(rounds: int) -> list[dict[str, NDArray[Any]]]:
    """Return updates of numbers that drift, that swing, that never move, and that settle."""
    rng = np.random.default_rng(7)
    drift = np.linspace(0, 1, NUMBERS)
    made = []
    for round_ in range(rounds):
        swing = (-1.0) ** round_ * (1 - drift) + 0.05 * rng.standard_normal(NUMBERS)
        flat = np.where(np.arange(NUMBERS) % 9 == 0, 0, drift * 0.8**round_ + swing)
        made.append(
            {
                "a": flat[:27].reshape(3, 9).astype(np.float32),
                "b": flat[27:].astype(np.float32),
            }
        )
    return made


def zeros() -> dict[str, NDArray[Any]]:
    """Return the weights before the first round; updates of float32 are exact at first."""
    return {"a": np.zeros((3, 9), np.float32), "b": np.zeros(13, np.float32)}


@pytest.mark.parametrize("random", [False, True])
def test_the_masks_are_those_of_plato(random: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In each of sixty rounds, in blocks that begin at no byte; averages agree to float32."""
    monkeypatch.setattr(new_version, "BLOCK_NUMBERS", 11)
    terms = Freezing(
        stability_threshold=0.3, moving_average=0.7, tight_threshold=0.5, random_freezing=random
    )
    drawn = np.random.default_rng(3)
    other = np.random.default_rng(3) if random else None
    plato = Plato(alpha=0.7, threshold=0.3, tight=0.5, rng=other)

    def observe(round_: int, numbers: dict[str, float]) -> FreezingObserver:
        return FreezingObserver(terms, round_, numbers, NUMBERS, drawn)

    job = ObservedRounds(zeros(), observe, FREEZING_STATE)
    shares = []
    for update in updates(60):
        before = {name: array.copy() for name, array in job.weights.items()}
        frozen = np.zeros(NUMBERS, np.bool_) if job.frozen is None else job.frozen.read(0, NUMBERS)
        assert frozen.tolist() == (~plato.mask).tolist()
        job.run(update)
        old, new = (np.concatenate([w["a"].ravel(), w["b"]]) for w in (before, job.weights))
        assert np.array_equal(old[frozen], new[frozen])
        assert np.all((old != new)[~frozen & (np.arange(NUMBERS) % 9 != 0)])
        plato.update(np.concatenate([update["a"].ravel(), update["b"]]).astype(np.float64))
        assert job.state is not None
        np.testing.assert_allclose(
            [job.state["freezing_mean"], job.state["freezing_absolute"]],
            [plato.averages, plato.absolutes],
            rtol=1e-5,
            atol=1e-7,
        )
        assert job.state["freezing_period"].tolist() == plato.durations.tolist()
        assert job.numbers["freezing_threshold"] == plato.threshold
        shares.append(job.numbers["freezing_ratio"])
        assert shares[-1] == pytest.approx(1 - plato.mask.mean())
    assert shares[0] == 0 if not random else True
    assert max(shares) > 0.5, "the threshold was halved at least once"
    assert plato.threshold < 0.3
    still = np.arange(NUMBERS) % 9 == 0
    if not random:
        assert plato.mask[still].all(), "a number that never moved is not stable"


def test_a_server_optimizer_with_momentum_moves_no_frozen_number() -> None:
    """Its arrays change as with a zero update."""
    terms = Freezing(stability_threshold=0.5, moving_average=0.5)

    def observe(round_: int, numbers: dict[str, float]) -> FreezingObserver:
        return FreezingObserver(terms, round_, numbers, 4, np.random.default_rng(0))

    part = Momentum(server_learning_rate=1.0, server_momentum=0.5)
    optimizer = ServerOptimizerCalls(part, PartCaller("server optimizer", "momentum", False))
    names = (*part.state, *FREEZING_STATE)
    job = ObservedRounds({"w": np.zeros(4, np.float32)}, observe, names, optimizer)
    for update in ([1, 1, 1, 1], [1, -1, 1, -1]):
        job.run({"w": np.array(update, np.float32)})
    assert job.frozen is not None
    assert job.frozen.read(0, 4).tolist() == [False, True, False, True]
    before = job.weights["w"].copy()
    assert job.state is not None
    moments = job.state[part.state[0]].copy()
    job.run({"w": np.ones(4, np.float32)})
    assert job.weights["w"][[1, 3]].tolist() == before[[1, 3]].tolist()
    assert (job.weights["w"][[0, 2]] > before[[0, 2]]).all()
    assert job.state[part.state[0]][1] == 0.5 * moments[1]
