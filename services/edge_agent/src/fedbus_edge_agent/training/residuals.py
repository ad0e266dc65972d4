"""Residuals on disk: what compression left out of a job's updates, to be sent with a later one.

This is error feedback (Karimireddy et al. 2019, arXiv 1901.09847): a training's difference and the
residual are compressed together, and what the collector will not read of them is the next residual.
It is pending until the update's receipt: if the update does not count, the residual before it
stays, and the difference is lost with the update.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fedbus.model.layout import Array, Layout, Weights
from fedbus.model.sections import section_numbers, split_section, trained_tensors
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.own_state import OwnStates


@dataclass(frozen=True, slots=True)
class Residuals(OwnStates):
    """One folder with the residual of each job, as one section in float32."""

    what: ClassVar[str] = "the residual of compressed updates"
    event: ClassVar[str] = "residual"

    def made_for(self, _task: TrainTask, layout: Layout, /) -> str:
        """Return the layout: what was left out may be sent with any steps."""
        return layout.digest


def add_residual(differences: Weights, residual: Array | None, layout: Layout) -> None:
    """Add a residual to the differences of trained tensors, in place; None: nothing."""
    if residual is None:
        return
    with np.errstate(over="ignore"):  # what is not finite is refused before it is compressed
        for name, part in split_section(residual, layout).items():
            np.add(differences[name], part, out=differences[name], casting="same_kind")


def residual_of(intended: Weights, read: Weights, layout: Layout) -> NDArray[np.float32]:
    """Return what the collector does not read of the trained differences, as one section."""
    residual = np.empty(section_numbers(layout), np.float32)
    views = split_section(residual, layout)
    for tensor in trained_tensors(layout):
        name = tensor.name
        np.subtract(intended[name], read[name], out=views[name], casting="same_kind")
    return residual
