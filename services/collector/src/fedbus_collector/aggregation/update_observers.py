"""Observers of combined updates: what learns from one round how the next ones should be.

An observer sees each block of the combined update once, after the privacy mechanism and the update
transforms and before the server optimizer. It keeps arrays in the strategy's state, one number for
each trained number, and numbers beside them. So it survives a restart as the weights do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedbus.model.frozen_bits import FrozenBits


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedBlock:
    """A block of a round's combined update.

    Attributes:
        update: Shape (numbers,); zero where frozen.
        arrays: The observer's arrays at the same place, shape (numbers,) each; it overwrites them.
        frozen: Which of the numbers no agent has sent; None: all were sent.
        position: Number of trained numbers before the block.
    """

    update: NDArray[np.float64]
    arrays: Mapping[str, NDArray[np.float64]]
    frozen: NDArray[np.bool_] | None
    position: int


class UpdateObserver(Protocol):
    """Watches a round's combined update, block by block and in order."""

    @property
    def arrays(self) -> Sequence[str]:
        """Names of its arrays in the strategy's state."""
        ...

    def observe(self, block: ObservedBlock, /) -> None:
        """Take a block into account, and change its arrays."""
        ...

    def numbers(self) -> Mapping[str, float]:
        """Return what to keep beside the arrays, after the last block."""
        ...

    def frozen(self) -> FrozenBits | None:
        """Return which numbers agents leave out in the next round; None: it freezes none."""
        ...
