"""An agent's noise comes from the operating system, and cannot be drawn again."""

import numpy as np
import pytest
from scipy import stats

from fedbus.privacy.noise_numbers import (
    Numbers,
    grid_step,
    laplace_of,
    normals_of,
    number_on_grid,
    on_grid,
    uniforms_of,
)
from fedbus.privacy.secret_noise import EphemeralNoise


def test_no_number_is_drawn_twice() -> None:
    """By default the bytes are those of os.urandom."""
    drawn = np.concatenate([EphemeralNoise().normals(999), EphemeralNoise().uniforms(1000)])
    assert np.unique(drawn).size == 1999
    assert stats.kstest(EphemeralNoise().normals(1000), "norm").pvalue > 1e-6


def test_a_source_of_bytes_makes_it_repeatable() -> None:
    """More numbers than are drawn at once, and an odd count."""

    def drawn(count: int) -> Numbers:
        return EphemeralNoise(np.random.default_rng(5).bytes).normals(count)

    assert drawn(140_001).tobytes() == drawn(140_002)[:-1].tobytes()
    assert drawn(0).size == 0
    assert stats.kstest(drawn(140_001), "norm").pvalue > 1e-3


@pytest.mark.parametrize("byte", [b"\x00", b"\xff"])
def test_the_extreme_bytes_give_finite_numbers(byte: bytes) -> None:
    """A logarithm of 0 would be infinite; 10.3 is the greatest normal number."""
    normal, uniform = normals_of(byte * 16), uniforms_of(byte * 8)
    assert np.abs(normal).max() == pytest.approx(10.264 if byte == b"\x00" else 0, abs=1e-3)
    assert 0 < uniform[0] < 1
    assert uniform[0] in {2.0**-53, 1 - 2.0**-53}


def test_uniform_and_laplace_numbers_have_their_distributions() -> None:
    """Kolmogorov-Smirnov over 100,000 numbers."""
    uniforms = EphemeralNoise(np.random.default_rng(7).bytes).uniforms(200_000)
    assert stats.kstest(uniforms, "uniform").pvalue > 1e-3
    normals = EphemeralNoise(np.random.default_rng(7).bytes).normals(400_000)
    assert stats.kstest(laplace_of(normals), "laplace").pvalue > 1e-3
    assert laplace_of(normals).size == 100_000


def test_laplace_numbers_end_where_a_true_one_comes_once_in_2_to_the_76() -> None:
    """Uniform numbers of 53 bits would end them at 36.7: once in 2^53 a result would tell all."""
    least, most = b"\x00" * 16, b"\xff" * 16
    greatest = laplace_of(normals_of(least + most + most + least))
    assert greatest == pytest.approx([52.68, -52.68], abs=0.01)
    assert stats.laplace.sf(greatest[0]) < 2.0**-76


@pytest.mark.parametrize("scale", [1e-20, 0.3, 1.0, 1.5, 2.0, 1e6])
def test_a_noised_number_is_on_a_grid_of_a_power_of_two(scale: float) -> None:
    """Its lowest bits say nothing about the number that the noise was added to."""
    step = grid_step(scale)
    assert scale * 2.0**-21 < step <= scale * 2.0**-20
    assert np.frexp(step)[0] == 0.5
    noised = scale * np.random.default_rng(0).normal(size=1000)
    found = on_grid(noised, scale)
    assert np.array_equal(found / step, np.rint(found / step))
    assert np.abs(found - noised).max() <= step / 2
    assert np.array_equal(on_grid(found, scale), found)
    assert number_on_grid(float(noised[0]), scale) == found[0]


def test_both_values_of_a_secret_give_the_same_possible_results() -> None:
    """The attack of 2012: without a grid, 0 and 1/3 share hardly any noised number."""
    secrets = (0.0, 1 / 3)
    noise = [EphemeralNoise(np.random.default_rng(seed).bytes).normals(10**6) for seed in (1, 2)]
    plain = [np.unique(secret + drawn) for secret, drawn in zip(secrets, noise, strict=True)]
    rounded = [np.unique(on_grid(each, 1.0)) for each in plain]
    assert np.intersect1d(plain[0], plain[1]).size == 0
    # A place of the grid is hit with these probabilities by 10^6 results of either secret.
    places = np.linspace(-8, 8, 16 * 2**10)
    hit = [-np.expm1(-(10**6) * 2.0**-20 * stats.norm.pdf(places - each)) for each in secrets]
    expected = (hit[0] * hit[1]).sum() * 2**10
    assert np.intersect1d(rounded[0], rounded[1]).size == pytest.approx(expected, rel=0.02)
