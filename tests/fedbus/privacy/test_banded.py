"""Banded noise is that of the factorization: its covariance, its sensitivity, its error."""

import json
import tracemalloc
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.plugins import Combined
from fedbus.privacy.banded import (
    MAX_BANDED_NUMBERS,
    banded_cost_fault,
    banded_noise,
    banded_sensitivity,
    coefficients,
    inverse_coefficients,
)
from fedbus.privacy.noise import KeyedNoise
from fedbus.privacy.noise_key import NoiseKey
from fedbus.privacy.noise_numbers import Numbers
from fedbus.strategies.privacy_mechanisms.dp_banded import BandedNoise
from fedbus.wire.privacy import NoiseStep
from tests.fedbus.privacy.privacy_examples import STRATEGY

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "reference/banded_figures.json").read_text(encoding="utf-8")
)["cases"]
KEY = NoiseKey(bytes(range(32)))


def strategy_matrix(bands: int, steps: int) -> Numbers:
    """Return C from its definition, by products of fractions."""
    matrix = np.zeros((steps, steps))
    for row in range(steps):
        for column in range(max(0, row - bands + 1), row + 1):
            for k in range(1, row - column + 1):
                matrix[row, column] = (matrix[row, column] or 1.0) * (2 * k - 1) / (2 * k)
    return matrix + np.eye(steps)


def patterns(steps: int, separation: int, most: int) -> Iterator[tuple[int, ...]]:
    """Yield the steps in which one agent may take part."""
    for count in range(1, most + 1):
        for chosen in combinations(range(steps), count):
            if all(b - a >= separation for a, b in pairwise(chosen)):
                yield chosen


@pytest.mark.parametrize("case", CASES)
def test_coefficients_are_those_of_an_independent_library(case: dict[str, Any]) -> None:
    """jax-privacy 2.0; reference/make_banded_figures.py made its figures."""
    steps, bands = case["steps"], case["bands"]
    assert coefficients(bands) == pytest.approx(case["coefficients"], rel=1e-12)
    inverse = inverse_coefficients(bands, steps)
    assert inverse == pytest.approx(case["inverse"], rel=1e-9, abs=1e-14)
    columns = np.linalg.inv(strategy_matrix(bands, steps))
    assert columns[:, 0] == pytest.approx(inverse, abs=1e-12)
    errors = np.cumsum(np.square(np.cumsum(inverse)))
    assert np.sqrt(errors.mean()) == pytest.approx(case["root_mean_square_error"], rel=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_the_sensitivity_is_never_below_that_of_an_independent_library(
    case: dict[str, Any],
) -> None:
    """It is the same, unless the job ends before the last participation has had all its bands."""
    separation, most = case["min_separation"], case["max_participations"]
    found = banded_sensitivity(case["bands"], most)
    if (most - 1) * separation + case["bands"] <= case["steps"]:
        assert found == pytest.approx(case["sensitivity"], rel=1e-12)
    else:
        assert found > case["sensitivity"]


@pytest.mark.parametrize(
    ("steps", "bands", "separation", "most"),
    [(9, 1, 1, 9), (9, 2, 2, 3), (9, 3, 3, 3), (9, 2, 4, 2), (10, 3, 4, 3), (7, 4, 4, 2)],
)
def test_no_participations_change_more_than_the_sensitivity(
    steps: int, bands: int, separation: int, most: int
) -> None:
    """The greatest change over all patterns, and over all signs of the updates."""
    matrix = strategy_matrix(bands, steps)
    changes = [
        np.linalg.norm(matrix[:, list(chosen)] @ np.array(signs))
        for chosen in patterns(steps, separation, most)
        for signs in np.array(np.meshgrid(*[[1.0, -1.0]] * len(chosen))).reshape(len(chosen), -1).T
    ]
    assert max(changes) <= banded_sensitivity(bands, most) * (1 + 1e-12)
    if (most - 1) * separation + bands <= steps:
        assert max(changes) == pytest.approx(banded_sensitivity(bands, most), rel=1e-12)


def noise_after(steps: int) -> KeyedNoise:
    """Return the noise of the last of these ledger entries."""
    entries = [
        NoiseStep(round=number, task=number, updates=f"{number:064x}")
        for number in range(1, steps + 1)
    ]
    return KeyedNoise(KEY, "job", entries, STRATEGY)


@pytest.mark.parametrize("bands", [1, 2, 5])
def test_the_covariance_of_all_steps_is_that_of_the_inverse_matrix(bands: int) -> None:
    """A job of eight rounds, from the mechanism that adds it: sigma² C² s² / n² (CᵀC)⁻¹."""
    steps, numbers, cut = 8, 100_000, 33_333
    mechanism = BandedNoise(
        noise_multiplier=1.5,
        clipping_norm=0.5,
        num_sampled_clients=3,
        min_separation=5,
        max_participations=2,
        bands=bands,
    )

    def block(step: int, start: int, end: int) -> Numbers:
        combined = Combined(update=np.zeros(end - start), agents=3, position=start)
        return mechanism.add_noise(combined, noise_after(step))

    rounds = [block(step, 0, numbers) for step in range(1, steps + 1)]
    std = 1.5 * 0.5 * banded_sensitivity(bands, 2) / 3
    inverse = np.linalg.inv(strategy_matrix(bands, steps))
    found = np.cov(rounds) / std**2
    assert np.abs(found - inverse @ inverse.T).max() < 0.02  # 4 deviations of a covariance
    halves = [block(6, 0, cut), block(6, cut, numbers)]
    assert np.concatenate(halves).tobytes() == rounds[5].tobytes()


def test_what_follows_a_round_takes_a_part_of_its_noise_back() -> None:
    """So the sum over the rounds has less noise than independent noise of as many rounds."""
    independent, correlated = (
        banded_sensitivity(bands, 4) * np.linalg.norm(np.cumsum(inverse_coefficients(bands, 64)))
        for bands in (1, 16)
    )
    assert correlated < 0.5 * independent


def test_a_block_needs_the_memory_of_a_few_blocks() -> None:
    """However many steps there are: earlier noise is drawn one step at a time."""
    numbers, inverse, noise = 200_000, inverse_coefficients(4, 30), noise_after(30)
    tracemalloc.start()
    banded_noise(lambda back: noise.normals(0, numbers, back), inverse)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * numbers * 8 + 8 * 2**20


def test_a_job_that_would_draw_too_much_is_told_how_many_rounds_are_possible() -> None:
    """Each round draws all earlier noise again; nothing is drawn before the refusal."""
    numbers = 10**7
    assert banded_cost_fault(MAX_BANDED_NUMBERS // numbers, numbers) == ""
    said = banded_cost_fault(MAX_BANDED_NUMBERS // numbers + 1, numbers)
    assert said.startswith("banded noise of 501 steps for 10,000,000 trained numbers")
    assert "at most 500 rounds of this model, or dp-fixed" in said
    mechanism = BandedNoise(
        noise_multiplier=1,
        clipping_norm=1,
        num_sampled_clients=3,
        min_separation=1,
        max_participations=2,
    )
    combined = Combined(update=np.zeros(1), agents=1, position=MAX_BANDED_NUMBERS)
    with pytest.raises(ValueError, match="at most 0 rounds of this model"):
        mechanism.add_noise(combined, noise_after(1))


class OneStep:
    """Noise of a step as the place of a 1, so that the noise of a job is a matrix."""

    def __init__(self, step: int, steps: int) -> None:
        self.step, self.steps = step, steps

    def normals(self, start: int, count: int, /, back: int = 0) -> Numbers:
        """Return the row of the identity matrix for the step that is asked for."""
        return np.eye(self.steps)[self.step - back, start : start + count]

    def normal(self, _name: str, /) -> float:
        """Return a number that is not asked for."""
        raise AssertionError


@pytest.mark.parametrize(("bands", "separation", "most"), [(1, 1, 9), (3, 3, 3), (2, 4, 2)])
def test_a_whole_job_protects_as_one_gaussian_mechanism(
    bands: int, separation: int, most: int
) -> None:
    """The greatest change of all rounds together, measured in the noise of all rounds, is 1 / z."""
    steps, multiplier, norm, agents = 9, 0.7, 2.5, 6
    mechanism = BandedNoise(
        noise_multiplier=multiplier,
        clipping_norm=norm,
        num_sampled_clients=agents,
        min_separation=separation,
        max_participations=most,
        bands=bands,
    )
    noise = np.array(
        [
            mechanism.add_noise(
                Combined(update=np.zeros(steps), agents=agents), OneStep(step, steps)
            )
            for step in range(steps)
        ]
    )
    whitened = np.linalg.inv(noise)
    changes = []
    for chosen in patterns(steps, separation, most):
        change = np.zeros(steps)
        change[list(chosen)] = norm / agents
        changes.append(float(np.linalg.norm(whitened @ change)))
    assert max(changes) == pytest.approx(1 / multiplier, rel=1e-5)
