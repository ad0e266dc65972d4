"""Ranges and rounding of a private update: how much they may change its numbers. Pure.

Each agent clips and rounds its own numbers. If the noise that ε counts is complete only in the sum
of all agents, an agent's range must not cut its noise off, and its step must not be greater than
its noise: else the sum has less noise than the ledger says. If the collector adds the noise, a
rounded update must not be longer than the norm that the noise is for.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from fedbus.errors import PrivacyError
from fedbus.model.fixed_point import (
    Wholes,
    exponent_of,
    fixed_point_tensors,
    from_fixed_point,
    half,
)
from fedbus.model.layout import Array, Layout, Weights

ROOM: Final = 2.0
"""Ranges hold this many times the bound: the base moves, and an adaptive norm does."""
_TRIES: Final = 8
_MARGIN: Final = 1 - 1e-5


def public_ranges(
    layout: Layout, before: Mapping[str, Array], bound: float, room: float = 1.0
) -> tuple[int, ...]:
    """Return the ranges of numbers that are at most `bound` away from what they were.

    Args:
        layout: The model's.
        before: What the numbers of each tensor were before the training; absent: zeros.
        bound: The greatest number of the training's difference, noise included.
        room: The bound is multiplied by this.
    """
    return tuple(
        exponent_of(
            np.abs(before.get(tensor.name, np.zeros(1))).max(initial=0.0, keepdims=True)
            + room * bound
        )
        for tensor in fixed_point_tensors(layout)
    )


def check_noise_is_whole(
    ranges: Sequence[int], least: Sequence[int], bits: int | None, deviation: float
) -> None:
    """Decline ranges that cut an agent's noise off, or a step that is greater than it.

    Args:
        ranges: Those of the task.
        least: Those that the noise needs: `public_ranges`.
        bits: Bits of one number; None: numbers are not rounded.
        deviation: The standard deviation of the agent's noise.

    Raises:
        PrivacyError: The sum would have less noise than the ledger counts.
    """
    for has, needs in zip(ranges, least, strict=True):
        if has < needs:
            raise PrivacyError(
                f"the task clips numbers to 2^{has}, which cuts off the noise that this agent "
                f"adds: 2^{needs} is needed; give a greater first_range, or adaptive_ranges true"
            )
        if bits is not None and 2.0**has / half(bits) > deviation:
            raise PrivacyError(
                f"numbers of {bits} bits up to 2^{has} have steps of {2.0**has / half(bits):.3g}, "
                f"greater than the noise of one agent, {deviation:.3g}: give more bits; if the "
                "model is encrypted, its release makes them smaller"
            )


def rounded_within(  # noqa: PLR0913, PLR0917 - as `to_fixed_point`, and a norm
    update: Weights,
    layout: Layout,
    ranges: Sequence[int],
    bits: int,
    norm: float,
    rounded: Callable[[Weights], Wholes],
) -> Wholes:
    """Return whole numbers of an update that are not longer than a norm, all tensors together.

    Rounding may make an update longer, and then all of it is scaled down and rounded again.

    Args:
        update: Differences by tensor name.
        layout: The model's.
        ranges: One exponent for each shared tensor.
        bits: Bits of one number.
        norm: The L2 norm that the collector's noise is for.
        rounded: Makes whole numbers of differences, with the weight 1.

    Raises:
        PrivacyError: They stay longer.
    """
    factor = 1.0
    for _ in range(_TRIES):
        scaled = update if factor == 1 else {name: a * factor for name, a in update.items()}
        made = rounded(scaled)
        read = from_fixed_point(made, layout, ranges, bits, 1, 1.0)
        length = float(np.sqrt(sum(float(np.sum(np.square(array))) for array in read.values())))
        if length <= norm:
            return made
        factor *= (norm / length) ** 2 * _MARGIN  # a small number's rounding has its size
    raise PrivacyError(
        f"the update rounded to {bits} bits is longer than the privacy mechanism allows after "
        f"{_TRIES} tries: give more bits, or a smaller first_range"
    )
