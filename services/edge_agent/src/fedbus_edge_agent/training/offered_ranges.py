"""Ranges that the offer of a fixed-point update states, for the ranges of the next round. Pure."""

from collections.abc import Mapping

import numpy as np

from fedbus.errors import PrivacyError
from fedbus.model.fixed_point import exponent_of, fixed_point_tensors, needed_ranges
from fedbus.model.layout import Array, Layout, Weights
from fedbus.wire.encryption import FixedPoint, Ranges
from fedbus.wire.messages import TrainTask


def offered_ranges(  # noqa: PLR0913, PLR0917 - all that the ranges may depend on
    task: TrainTask,
    fixed_point: FixedPoint,
    layout: Layout,
    before: Mapping[str, Array],
    update: Weights,
    bound: float | None,
) -> Ranges:
    """Return the ranges that an update needs; none if the job's do not adapt.

    An update that is private by itself may be known, and so may its ranges. One whose noise is
    complete only with that of other agents may not: its ranges follow from what all agents know.

    Args:
        task: The task.
        fixed_point: The job's.
        layout: The model's.
        before: What the numbers of each tensor were before the training; absent: zeros.
        update: The numbers that leave the agent, noise included.
        bound: The greatest number of the training's difference by the terms of the privacy
            mechanism; None: it states none.

    Raises:
        PrivacyError: The ranges would tell more than the terms allow.
    """
    if not fixed_point.adaptive:
        return ()
    privacy = task.privacy
    if privacy is None or privacy.entered == "with-plan":
        return needed_ranges(update, layout)
    if bound is None:
        raise PrivacyError(
            f"the privacy mechanism {privacy.mechanism!r} states no bound of an update, and the "
            "ranges of an encrypted or masked one must not tell more; set adaptive_ranges to false"
        )
    nothing = np.zeros(1)
    return tuple(
        exponent_of(
            np.abs(before.get(tensor.name, nothing)).max(initial=0.0, keepdims=True) + bound
        )
        for tensor in fixed_point_tensors(layout)
    )
