"""Noise added to numbers, and the grid after it: of an agent's update, of the collector's. Pure."""

from collections.abc import Callable

import numpy as np

from fedbus.model.layout import Array, Weights
from fedbus.plugins import Block, RoundNoise
from fedbus.privacy.noise_numbers import on_grid
from fedbus.strategies.privacy_mechanisms.update_clipping import flat_blocks


def noised_update(update: Weights, scale: float, draw: Callable[[int], Block]) -> Weights:
    """Return an update with noise in each number, of the same names, shapes and dtypes.

    Args:
        update: Arrays by tensor name.
        scale: Factor of the noise: the standard deviation, or the scale of Laplace noise.
        draw: Returns independent numbers of noise with scale 1, given how many.
    """
    return {name: _noised_array(array, scale, draw) for name, array in update.items()}


def noised_block(block: Block, scale: float, noise: Block) -> Block:
    """Return block + scale * noise, rounded to the grid; `scale` is the standard deviation."""
    return on_grid(block + scale * noise, scale)


def given_noise(noise: RoundNoise | None) -> RoundNoise:
    """Return a round's noise; raise ValueError if the collector gave none."""
    if noise is None:
        raise ValueError(
            "no noise was given: a collector needs the noise key (FEDBUS_NOISE_KEY), and an entry "
            "in the ledger"
        )
    return noise


def _noised_array(array: Array, scale: float, draw: Callable[[int], Block]) -> Array:
    made = np.empty(array.size, array.dtype)
    for target, block in zip(flat_blocks(made), flat_blocks(array), strict=True):
        noised = noised_block(block.astype(np.float64), scale, draw(block.size))
        with np.errstate(over="ignore"):  # the agent refuses an update that is not finite
            target[:] = noised
    return made.reshape(array.shape)
