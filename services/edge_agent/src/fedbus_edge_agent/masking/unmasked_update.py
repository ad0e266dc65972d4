"""Update of a masked task between its training and its masking: in memory, never on the disk."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import PrivacyError
from fedbus.model.blob import decode
from fedbus.model.blob_header import Blob
from fedbus.model.fixed_point import Wholes, to_fixed_point
from fedbus.model.layout import Layout
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.offered_ranges import offered_ranges
from fedbus_edge_agent.training.private_offer import TrainingReport


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmaskedUpdate:
    """What a training has left, until the agents have agreed on whose masks cancel out.

    Attributes:
        numbers: The update as whole numbers.
        layout: The model's.
        report: What the offer says.
        own: The objective's own arrays for the next round; None: it keeps none.
    """

    numbers: Wholes = field(repr=False)
    layout: Layout
    report: TrainingReport
    own: NDArray[np.float32] | None = field(default=None, repr=False)


def unmasked_update(  # noqa: PLR0913 - what a training has left
    task: TrainTask,
    layout: Layout,
    delta: Blob,
    report: TrainingReport,
    *,
    bound: float | None,
    own: NDArray[np.float32] | None,
) -> UnmaskedUpdate:
    """Return an update as whole numbers, weighted and clipped to the task's ranges.

    Args:
        task: A masked task.
        layout: The model's.
        delta: The difference to the base, noise included.
        report: What the offer says beside the ranges.
        bound: The greatest number that a private update may be said to have; None: there is none.
        own: The objective's own arrays.

    Raises:
        LayoutError: A shared tensor has whole numbers, or the ranges are of another model.
        PrivacyError: The update is masked by nothing, or its ranges would tell what it has.
    """
    if task.masking is None or task.sections:
        raise PrivacyError("a masked update has no sections; take a strategy without them")
    fixed_point, differences = task.masking.fixed_point, decode(delta, layout, "delta")
    numbers = to_fixed_point(
        differences,
        layout,
        task.ranges,
        fixed_point.bits,
        report.examples / task.max_examples,
        np.random.default_rng(),  # seeded by the operating system
    )
    ranges = offered_ranges(task, fixed_point, layout, {}, differences, bound)
    return UnmaskedUpdate(
        numbers=numbers, layout=layout, report=replace(report, ranges=ranges), own=own
    )
