"""Update of a masked task between its training and its masking: in memory, never on the disk."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import PrivacyError
from fedbus.model.blob import decode
from fedbus.model.blob_header import Blob
from fedbus.model.fixed_point import Wholes, to_fixed_point
from fedbus.model.layout import Layout, Weights
from fedbus.model.private_rounding import rounded_within
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.offered_ranges import check_private_ranges, offered_ranges
from fedbus_edge_agent.training.private_offer import TrainingReport
from fedbus_edge_agent.training.private_task import agent_draws_noise, update_mechanism


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
        PrivacyError: The update is masked by nothing, its ranges would tell what it has, or its
            noise would not suffice once it is rounded.
    """
    if task.masking is None or task.sections:
        raise PrivacyError("a masked update has no sections; take a strategy without them")
    fixed_point, differences = task.masking.fixed_point, decode(delta, layout, "delta")
    weight, rng = report.examples / task.max_examples, np.random.default_rng()  # of the system

    def rounded(update: Weights) -> Wholes:
        return to_fixed_point(update, layout, task.ranges, fixed_point.bits, weight, rng)

    if task.privacy is not None and task.max_examples != 1:
        raise PrivacyError(
            f"the privacy mechanism {task.privacy.mechanism!r} protects updates that count alike, "
            f"and the task counts up to {task.max_examples} examples"
        )
    check_private_ranges(task, layout, {}, bound, fixed_point.bits)
    if update_mechanism(task.privacy) is None or agent_draws_noise(task) or bound is None:
        numbers = rounded(differences)
    else:  # the noise of the collector is for an update of this norm, which it cannot measure
        numbers = rounded_within(differences, layout, task.ranges, fixed_point.bits, bound, rounded)
    ranges = offered_ranges(task, fixed_point, layout, {}, differences, bound)
    return UnmaskedUpdate(
        numbers=numbers, layout=layout, report=replace(report, ranges=ranges), own=own
    )
