"""Ranges that the offer of a fixed-point update states, for the ranges of the next round. Pure."""

from collections.abc import Mapping
from math import sqrt

from fedbus.errors import PrivacyError
from fedbus.model.fixed_point import needed_ranges
from fedbus.model.layout import Array, Layout, Weights
from fedbus.model.private_rounding import ROOM, check_noise_is_whole, public_ranges
from fedbus.privacy.noise_numbers import USUAL_DEVIATIONS
from fedbus.wire.encryption import FixedPoint, Ranges
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.private_task import agent_draws_noise


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
    room = ROOM if agent_draws_noise(task) else 1.0
    return public_ranges(layout, before, bound, room)


def check_private_ranges(
    task: TrainTask,
    layout: Layout,
    before: Mapping[str, Array],
    bound: float | None,
    bits: int | None,
) -> None:
    """Decline a task whose ranges or bits leave less noise in the sum than the ledger counts.

    An update that is private by itself may be changed in any way. In a sum whose noise agents add,
    each agent's noise must be whole.

    Args:
        task: The task.
        layout: The model's.
        before: What the numbers of each tensor were before the training; absent: zeros.
        bound: As for `offered_ranges`; six deviations of the agent's noise are part of it.
        bits: Bits of one number; None: numbers are not rounded.

    Raises:
        PrivacyError: The noise would be cut off, or is smaller than a step.
    """
    privacy = task.privacy
    if privacy is None or privacy.entered == "with-plan" or not agent_draws_noise(task):
        return
    if bound is None:
        raise PrivacyError(
            f"the privacy mechanism {privacy.mechanism!r} states no bound of an update, so that "
            "ranges could cut off the noise of agents"
        )
    share = privacy.noise_multiplier / sqrt(privacy.cohort)
    deviation = bound * share / (1 + USUAL_DEVIATIONS * share)
    check_noise_is_whole(task.ranges, public_ranges(layout, before, bound), bits, deviation)
