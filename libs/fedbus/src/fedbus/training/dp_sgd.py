"""Steps of DP-SGD, and the rate at which each draws its examples. Pure.

They follow from the job alone, not from the number of an agent's examples: the ε that is computed
for them holds for every agent. With more than `least_examples` the batches are larger. If each
agent chose batches of `batch_size` instead, those with more examples would take more steps at a
lower rate, and their ε would not be bounded by that of `least_examples`: at δ 1e-5 and a noise
multiplier of 1 it is 4.38 for one step of all examples, but 4.85 for two steps of every second one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from fedbus.training.params import SchedulerPart, TrainingParams

DP_SGD_FRAMEWORK: Final = "torch"
"""The only trainer that fedbus ships which trains with DP-SGD."""
NO_DP_SGD_OPTIMIZERS: Final[Mapping[str, str]] = {
    "lbfgs": "computes the gradients of a batch many times, each of which would need noise",
    "sparseadam": "changes only the numbers that an example has, which noise does not hide",
}
"""Optimizers that cannot train with DP-SGD, and why."""
MOST_GRADIENT_BYTES: Final = 256 * 2**20
"""Bytes of the gradients of single examples that are held at once; one example needs its own."""
_COPIES: Final = 3
"""Gradients, those of the largest tensor while they are clipped, and what Opacus makes them of."""
_BY_LOSS: Final = "reducelronplateau"


@dataclass(frozen=True, slots=True)
class DpSgdSteps:
    """How one training samples its examples.

    Attributes:
        in_epoch: Steps of an epoch.
        epochs: Number of epochs.
        rate: The probability with which a step draws an example, each on its own.
    """

    in_epoch: int
    epochs: int
    rate: float

    @property
    def total(self) -> int:
        """Steps of the training."""
        return self.epochs * self.in_epoch


def dp_sgd_steps(params: TrainingParams, least_examples: int) -> DpSgdSteps:
    """Return the steps of a training: with `least_examples`, an epoch has all of them once."""
    whole = -(-least_examples // params.batch_size)
    return DpSgdSteps(min(whole, params.steps_per_epoch or whole), params.epochs, 1 / whole)


def rows_at_once(batch_size: int, weights_bytes: int) -> int:
    """Return the number of examples whose gradients a trainer holds at once."""
    return max(1, min(batch_size, MOST_GRADIENT_BYTES // max(1, weights_bytes)))


def dp_sgd_bytes(params: TrainingParams, weights_bytes: int) -> int:
    """Return the memory that DP-SGD needs beside that of a training without it, about."""
    if params.dp_sgd is None:
        return 0
    return _COPIES * rows_at_once(params.batch_size, weights_bytes) * weights_bytes


def dp_sgd_fault(params: TrainingParams) -> str:
    """Return why a training with these parameters cannot follow DP-SGD, or ""."""
    if params.optimizer in NO_DP_SGD_OPTIMIZERS:
        return (
            f"the optimizer {params.optimizer} {NO_DP_SGD_OPTIMIZERS[params.optimizer]}; take "
            "another one, such as sgd or adam"
        )
    if any(part.name == _BY_LOSS for part in _schedulers(params)):
        return (
            f"the scheduler {_BY_LOSS} follows the loss of the training, to which DP-SGD adds no "
            "noise; take another one, such as steplr"
        )
    if params.precision == "mixed":
        return "DP-SGD computes in full precision only; leave out precision: mixed"
    return ""


def _schedulers(params: TrainingParams) -> Iterator[SchedulerPart]:
    warmup = None if params.warmup is None else params.warmup.scheduler
    for scheduler in filter(None, (params.scheduler, warmup)):
        yield scheduler
        yield from scheduler.parts
