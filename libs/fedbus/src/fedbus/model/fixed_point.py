"""Fixed-point numbers of an update: whole numbers that can be added exactly. Pure.

A number of a tensor with the range 2^e is clipped to -2^e to 2^e, multiplied by its agent's weight,
rounded at random to a multiple of a step so that its expectation stays, and moved so that it is not
negative: 0 to 2 * `half(bits)`. The sum of n of them is below n * 2^bits.
"""

from collections.abc import Sequence
from math import ceil, frexp, log2

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import LayoutError
from fedbus.model.layout import Array, Layout, Tensor, Weights
from fedbus.text import listed

Wholes = NDArray[np.uint64]
"""Shape (numbers,): the numbers of an update, in the order of the layout without local tensors."""

LEAST_EXPONENT = -126
GREATEST_EXPONENT = 127


def half(bits: int) -> int:
    """Return what is added to a number so that it is not negative: 2^(bits - 1) - 1."""
    return (1 << (bits - 1)) - 1


def sum_bits(bits: int, agents: int) -> int:
    """Return the bits that the sum of the numbers of `agents` agents needs."""
    return bits + ceil(log2(agents))


def fixed_point_tensors(layout: Layout) -> tuple[Tensor, ...]:
    """Return the tensors of an update, in their order; each has a range.

    Raises:
        LayoutError: A tensor that is not local has whole numbers or flags.
    """
    shared = layout.shared
    if whole := [tensor.name for tensor in shared if np.dtype(tensor.dtype).kind != "f"]:
        raise LayoutError(
            f"only floating-point tensors can be encrypted or masked, and the model shares "
            f"{listed(map(repr, whole))}; give them the role local, or replace what needs them"
        )
    return shared


def needed_ranges(update: Weights, layout: Layout) -> tuple[int, ...]:
    """Return the least exponent for each tensor with which none of its numbers is clipped."""
    return tuple(exponent_of(update[tensor.name]) for tensor in fixed_point_tensors(layout))


def exponent_of(numbers: Array) -> int:
    """Return the least e, -126 to 127, with |number| <= 2^e for all numbers, which are finite."""
    greatest = float(np.max(np.abs(numbers), initial=0.0))
    if not greatest:
        return LEAST_EXPONENT
    fraction, exponent = frexp(greatest)
    if fraction == 0.5:  # noqa: PLR2004 - a power of two is in its own range
        exponent -= 1
    return min(max(exponent, LEAST_EXPONENT), GREATEST_EXPONENT)


def to_fixed_point(  # noqa: PLR0913, PLR0917 - what one number depends on
    update: Weights,
    layout: Layout,
    ranges: Sequence[int],
    bits: int,
    weight: float,
    rng: np.random.Generator,
) -> Wholes:
    """Return the numbers of an update as whole numbers, in the order of the layout.

    Args:
        update: Finite differences by tensor name.
        layout: The model's.
        ranges: One exponent for each tensor that is not local.
        bits: Bits of one number.
        weight: The agent's weight, above 0 and at most 1.
        rng: Decides the rounding.

    Raises:
        LayoutError: The ranges are not those of the layout, a tensor has whole numbers, or a
            difference is not finite.
    """
    tensors = _with_ranges(layout, ranges)
    made = np.empty(sum(tensor.numbers for tensor in tensors), np.uint64)
    start = 0
    for tensor, exponent in zip(tensors, ranges, strict=True):
        limit, given = 2.0**exponent, update[tensor.name].ravel()
        if not np.isfinite(given).all():
            raise LayoutError(
                f"tensor {tensor.name!r} of the update has numbers that are not finite, which "
                "cannot become whole numbers; a lower learning_rate may help"
            )
        numbers = np.clip(given.astype(np.float64), -limit, limit)
        numbers *= weight * half(bits) / limit
        numbers += half(bits)
        whole = np.floor(numbers)
        whole += rng.random(numbers.size) < numbers - whole
        made[start : start + tensor.numbers] = whole
        start += tensor.numbers
    return made


def from_fixed_point(  # noqa: PLR0913, PLR0917 - as above
    total: Wholes,
    layout: Layout,
    ranges: Sequence[int],
    bits: int,
    count: int,
    weights: float,
) -> dict[str, Array]:
    """Return the weighted mean, float64 by tensor name, of the sum of fixed-point numbers.

    Args:
        total: The sum of the numbers of `count` agents, each with `to_fixed_point`.
        layout: The model's.
        ranges: As for `to_fixed_point`.
        bits: As for `to_fixed_point`.
        count: Number of agents.
        weights: The sum of their weights, above 0.
    """
    tensors = _with_ranges(layout, ranges)
    means, start = {}, 0
    for tensor, exponent in zip(tensors, ranges, strict=True):
        part = total[start : start + tensor.numbers].astype(np.int64) - count * half(bits)
        factor = 2.0**exponent / half(bits) / weights
        means[tensor.name] = (part * factor).reshape(tensor.shape)
        start += tensor.numbers
    return means


def _with_ranges(layout: Layout, ranges: Sequence[int]) -> tuple[Tensor, ...]:
    tensors = fixed_point_tensors(layout)
    if len(ranges) != len(tensors):
        raise LayoutError(f"{len(ranges)} ranges for a layout of {len(tensors)} shared tensors")
    return tensors
