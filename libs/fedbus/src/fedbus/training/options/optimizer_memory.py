"""What an optimizer keeps beside the weights, in copies of them. Pure: no framework here.

Sources: the state that each optimizer of `torch.optim` (2.13) and `keras.optimizers` (3.15) makes
for a weight; numbers that are one for the whole weight, the step's say, do not count.
"""

from collections.abc import Mapping
from typing import Final

from fedbus.training.params import Argument

HISTORY: Final = 100
"""Of LBFGS, where a job gives no `history_size`."""

_KEPT: Final[Mapping[str, int]] = {
    "sgd": 0,
    "asgd": 1,  # the average
    "adagrad": 1,  # the sum of squares
    "rmsprop": 1,  # the mean of squares
    "adadelta": 2,  # the means of squares of gradients and of steps
    "adam": 2,  # both moments, as have its kin
    "adamax": 2,
    "adamw": 2,
    "ftrl": 2,  # the accumulator, the linear term
    "nadam": 2,
    "radam": 2,
    "rprop": 2,  # the gradient before, the size of the step
    "sparseadam": 2,
    "lbfgs": 3,  # the direction, the gradient before and now; and the history
}
_FOR_A_STEP: Final[Mapping[str, int]] = {
    # Of each number of a sparse gradient its place, twice 8 bytes; and all of it again in order.
    "sparseadam": 10,
    "lbfgs": 6,  # where a line is searched, its ends with their gradients
}
_MORE: Final[Mapping[str, Mapping[str, int]]] = {
    "adam": {"amsgrad": 1},
    "adamw": {"amsgrad": 1},
    "rmsprop": {"centered": 1, "momentum": 1},
    "sgd": {"momentum": 1},
}
"""Arguments that make an optimizer keep more, unless they are off."""


def state_slots(optimizer: str, args: Mapping[str, Argument]) -> int:
    """Count the numbers that an optimizer keeps for each weight; of one nobody knows, none."""
    more = {"use_ema": 1, **_MORE.get(optimizer, {})}
    kept = _KEPT.get(optimizer, 0) + sum(n for name, n in more.items() if args.get(name))
    if optimizer != "lbfgs":
        return kept
    history = args.get("history_size")
    return kept + 2 * (history if isinstance(history, int) else HISTORY)


def peak_state_slots(optimizer: str, args: Mapping[str, Argument], *, keep_state: bool) -> int:
    """Count the numbers for each weight that there are at once because of an optimizer.

    What goes on from round to round is copied once it is trained.
    """
    return state_slots(optimizer, args) * (1 + keep_state) + _FOR_A_STEP.get(optimizer, 0)
